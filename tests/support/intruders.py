"""Special files that another user may put in the place of a file of ours."""

import os
import socket


def put(kind, path, target):
    """Create something other than a regular file of plausible size at `path`; a "link" points to `target`."""
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
            folder = os.open(path.parent, os.O_PATH)  # the path of a socket must be short
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
