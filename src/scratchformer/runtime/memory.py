"""Memory that is freed and asked for again a moment later should not go to the kernel and back."""

import ctypes
import platform

# mallopt(3) of glibc: names and numbers of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT = 512 << 20  # bytes at the end of the heap that are kept at most
FROM_HEAP = 32 << 20  # larger pieces come from the kernel, and go back at once (glibc's maximum)


def keep_freed_memory() -> bool:
    """Let this process keep up to `KEPT` bytes of freed memory; says whether it does.

    By itself glibc gives the end of the heap back as soon as twice the largest piece is free. A
    training update frees all its activations, so the next one meets fresh pages, and the kernel
    fills each with zeros first: 10,000 page faults an update of 2,048 positions, without need.
    It changes no number and hardly the peak. Other libraries than glibc (macOS, Windows, musl)
    have their own ways, and are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Both: setting either ends glibc's adjusting of the two.
    return bool(mallopt(_M_MMAP_THRESHOLD, FROM_HEAP) and mallopt(_M_TRIM_THRESHOLD, KEPT))
