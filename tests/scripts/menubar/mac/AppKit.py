"""Stands for PyObjC's AppKit: the application, and which kind of it it was made."""

policies: list[int] = []


class NSApplication:
    @classmethod
    def sharedApplication(cls) -> "NSApplication":
        return cls()

    def setActivationPolicy_(self, policy: int) -> bool:
        policies.append(policy)
        return True
