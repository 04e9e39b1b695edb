"""Joins two network namespaces by a link with a delay and losses, until its standard input ends.

    lossy_relay.py NAMESPACE ADDRESS NAMESPACE ADDRESS SECONDS LOSS

A TUN device `wire` in each; what comes out of one goes into the other so many seconds later, if it is not lost. Says
"ready" when both are up; 77 where this system has no TUN devices.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000


def open_link(namespace, address):
    """A TUN device in a namespace, which this process enters for good."""
    with open(f"/run/netns/{namespace}") as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    link = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(link, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
    for words in (("addr", "add", address, "dev", "wire"), ("link", "set", "wire", "up"), ("link", "set", "lo", "up")):
        subprocess.run(("ip",) + words, check=True)
    return link


def relay(links, delay, loss):
    draw = random.Random(1).random
    waiting = []  # (when, number, target, packet)
    number = 0
    while True:
        pause = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select(links + [sys.stdin], [], [], pause)
        if sys.stdin in ready:
            return
        for link in ready:
            packet = os.read(link, 65536)
            number += 1
            if draw() >= loss:
                heapq.heappush(waiting, (time.monotonic() + delay, number, links[1 - links.index(link)], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(waiting)
            os.write(target, packet)


def main():
    first, first_address, second, second_address, delay, loss = sys.argv[1:]
    try:
        links = [open_link(first, first_address), open_link(second, second_address)]
    except OSError as failure:
        print(f"no TUN device can be made here: {failure}")
        return 77
    print("ready", flush=True)
    relay(links, float(delay), float(loss))
    return 0


sys.exit(main())
