"""How a table in a text file is written: its separator, the signs in its numbers, its encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

from fastnet.data.limits import require_plausible
from fastnet.data.text import is_number
from fastnet.errors import DataError, InputError

GZIP: Final = ".gz"
DAMAGE: Final = (gzip.BadGzipFile, EOFError, zlib.error)
"""What a damaged compressed file raises."""

_BLANKS: Final = " \u00a0\u202f"
_TABS: Final = ("\\t", "tab")
_BLOCK: Final = 1 << 20
_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class TextFormat:
    r"""How a CSV or TSV file is written.

    Parameters
    ----------
    sep : str, optional
        The character between two cells; ``"\\t"`` and ``"tab"`` are a tab. Default: the one of
        comma, semicolon and tab that fits the first rows.
    decimal : str, default "."
        The sign before the fraction of a number.
    thousands : str, optional
        The sign between groups of three digits; a blank stands for any kind of blank.
    encoding : str, default "utf-8"
        As Python calls it, such as ``"cp1252"`` or ``"utf-16"``.

    Raises
    ------
    InputError
        One of them cannot be, or two of them are the same.
    """

    sep: str | None = None
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the characters and the encoding."""
        if self.sep in _TABS:
            object.__setattr__(self, "sep", "\t")
        if self.sep is not None and not _is_character(self.sep, but='"\r\n'):
            raise InputError(
                f"sep must be one character such as ';' or \\t, and no quote, got {self.sep!r}."
            )
        for name in ("decimal", "thousands"):
            sign = getattr(self, name)
            if sign is None and name == "thousands":
                continue
            if not _is_character(sign, but='"\r\n\t+-') or sign.isalnum():
                raise InputError(
                    f"{name} must be one character such as ',', and no letter, digit, sign or "
                    f"quote, got {sign!r}."
                )
        if self.decimal == self.sep:
            raise InputError(f"decimal and sep must differ, got {self.sep!r} for both.")
        if self.decimal == self.thousands:
            raise InputError(
                f"decimal and thousands must differ, got {self.decimal!r} for both: give decimal "
                "too."
            )
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=self.encoding)
        except (LookupError, TypeError, ValueError):
            raise InputError(
                f"encoding must be one that Python knows, such as 'utf-8', 'cp1252' or 'utf-16', "
                f"got {self.encoding!r}."
            ) from None
        if codecs.lookup(self.encoding).name == "utf-8":
            object.__setattr__(self, "encoding", "utf-8-sig")  # with or without its mark

    @property
    def keywords(self) -> dict[str, Any]:
        """The arguments of `fastnet.data.load` that say the same."""
        return asdict(self)

    @property
    def plain(self) -> bool:
        """Whether numbers are written as Python writes them."""
        return self.decimal == "." and self.thousands is None

    @cached_property
    def _number(self) -> re.Pattern[str]:
        sign, whole = re.escape(self.decimal), "[0-9]+"
        if self.thousands is not None:
            groups = f"[0-9]{{1,3}}(?:{self._group}[0-9]{{3}})+"
            whole = f"(?:{groups}|{whole})"
        return re.compile(rf"[+-]?(?:{whole}(?:{sign}[0-9]*)?|{sign}[0-9]+)(?:[eE][+-]?[0-9]+)?")

    @property
    def _group(self) -> str:
        assert self.thousands is not None
        return f"[{_BLANKS}]" if self.thousands in _BLANKS else re.escape(self.thousands)

    def has_signs(self, text: str) -> bool:
        """Tell whether there is any sign in some cells that may need a translation."""
        known = "." + self.decimal + (self.thousands or "")
        blanks = _BLANKS if self.thousands in (*_BLANKS,) else ""
        return any(sign in text for sign in known + blanks)

    def standard(self, cell: str) -> str:
        """Return a number in the spelling of Python, and any other text unchanged."""
        number = cell.strip()
        if self.plain or not self._number.fullmatch(number):
            return cell
        whole = number if self.thousands is None else re.sub(self._group, "", number)
        return whole.replace(self.decimal, ".")

    def is_foreign(self, cell: str) -> bool:
        """Tell whether a text is a number for Python, and none as this file writes them."""
        cell = cell.strip()
        return "." in cell and is_number(cell) and not self._number.fullmatch(cell)

    def open(self, path: Path) -> IO[str]:
        """Open a file as text, unpacking it if it is compressed by gzip; line ends stay."""
        opener: Any = gzip.open if path.suffix.lower() == GZIP else Path.open
        return io.TextIOWrapper(opener(path, "rb"), encoding=self.encoding, newline="")

    def undecodable(self, source: str, path: Path, error: UnicodeError) -> DataError:
        """Return the error for a file that is written in another encoding, with the place."""
        opener: Any = gzip.open if path.suffix.lower() == GZIP else open
        decoder = codecs.getincrementaldecoder(self.encoding)()
        at, line, block = 0, 1, b""
        try:
            with opener(path, "rb") as file:
                while block := file.read(_BLOCK):
                    line += decoder.decode(block).count("\n")
                    at += len(block)
                decoder.decode(b"", final=True)
        except UnicodeError as found:
            error = found
        mark = self._begins_with_mark(path, opener)
        name = self.encoding.removesuffix("-sig")
        other = "utf-16" if mark else "cp1252" if name == "utf-8" else "utf-8"
        advice = f"Give its encoding, such as {other}, or save it as UTF-8."
        if not isinstance(error, UnicodeDecodeError):
            return DataError(f"{source} is not {name.upper()} text ({error}). {advice}")
        kept = len(error.object) - len(block)  # bytes that the decoder had kept of the last block
        before = error.object[: error.start]
        with suppress(UnicodeError):  # of encodings that know no "ignore"
            line += before.decode(self.encoding, "ignore").count("\n")
        return DataError(
            f"{source} is not {name.upper()} text: byte {at - kept + error.start + 1:,}, in line "
            f"{line:,}, is 0x{error.object[error.start]:02x}. {advice}"
        )

    @staticmethod
    def _begins_with_mark(path: Path, opener: Any) -> bool:
        with opener(path, "rb") as file:
            return file.read(2) in _MARKS


def _is_character(text: Any, *, but: str) -> bool:
    return isinstance(text, str) and len(text) == 1 and text not in but


DEFAULT: Final = TextFormat()


def require_sound(path: Path, source: str) -> None:
    """Raise `DataError` for a damaged file, or one that unpacks to what is not plausible."""
    if path.suffix.lower() != GZIP:
        return
    size, unpacked = path.stat().st_size, 0
    try:
        with gzip.open(path) as file:
            while block := file.read(_BLOCK):
                unpacked += len(block)
                require_plausible(source, size, unpacked)
    except DAMAGE as error:
        raise DataError(f"{source} is damaged: {error}.") from error
