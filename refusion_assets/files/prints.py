"""Prints: the size and the time of a file, which prove it unchanged without reading it."""

from dataclasses import dataclass
from pathlib import Path

from refusion_assets.files.delivered import fingerprint, manifest_of


@dataclass(frozen=True)
class Print:
    """Size in bytes and time of change (ns) of a file; an equal print proves it unchanged without reading."""

    stoerrelse: int
    aendret_ns: int

    @classmethod
    def of(cls, path: Path) -> "Print | None":
        """The print of a file; None without such a file."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(found.st_size, found.st_mtime_ns) if path.is_file() else None


@dataclass(frozen=True)
class Read:
    """A file and its manifest as a run read them: hashes, and the prints from before the reading."""

    fil: Print
    manifest: Print
    sha256: str
    manifest_sha256: str

    def differs(self, path: Path, *, thoroughly: bool) -> str | None:
        """The change of the file since, in words; None if it and its manifest are unchanged.

        Reads a file with an equal print only if `thoroughly`.
        """
        said = (
            (path, self.fil, self.sha256, "er væk", "har fået et andet indhold"),
            (manifest_of(path), self.manifest, self.manifest_sha256, "mangler sit manifest", "har et andet manifest"),
        )
        for lies, before, sha256, gone, changed in said:
            now = Print.of(lies)
            if now is None:
                return gone
            if (thoroughly or now != before) and fingerprint(lies) != sha256:
                return changed
        return None
