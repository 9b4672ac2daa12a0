"""What is said of a constraint that cannot be enforced."""


class ConstraintRefused(Exception):
    """It cannot be enforced. `param` names what is wrong in the request."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param
