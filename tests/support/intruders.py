"""What another user may put in place of a file of ours."""

import os
import socket


def put(kind, path, target):
    """Put something else than a regular file of plausible size at `path`; a "link" leads to `target`."""
    match kind:
        case "link":
            path.symlink_to(target)
        case "loop":
            path.symlink_to(path)
        case "zeros":
            path.symlink_to("/dev/zero")
        case "device":
            path.symlink_to("/dev/full")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            folder = os.open(path.parent, os.O_PATH)  # the name of a socket is short
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(f"/proc/self/fd/{folder}/{path.name}")
            os.close(folder)
        case "folder":
            path.mkdir()
        case "sparse":
            with open(path, "wb") as f:
                f.truncate(1 << 43)
        case _:
            raise ValueError(kind)
