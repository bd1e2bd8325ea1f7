"""Finds the files that live outside the package: in a checkout beside it, in a wheel inside it."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def checkout_root() -> Path | None:
    """The repository root when the package runs from a checkout, else None."""
    return _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "schema.sql").is_file() else None


def package_folder() -> Path:
    """The package itself."""
    return _PACKAGE


def schema_path() -> Path:
    """`schema.sql`, from the checkout or from the wheel."""
    return _find("schema.sql")


def catalogue_path() -> Path:
    """The built-in providers, in the format of the override file."""
    return _PACKAGE / "providers" / "catalogue.json"


def ui_path() -> Path:
    """The folder of built web assets; it may be missing in a checkout that was never built."""
    return _PACKAGE / "ui"


def _find(name: str) -> Path:
    for folder in (_CHECKOUT, _PACKAGE):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} is in neither {_CHECKOUT} nor {_PACKAGE}")
