"""A guest of 512 bytes for tests with a real QEMU, and how to talk to it.

It boots by the BIOS in a moment, also where guests are emulated. On its serial port it writes "B" at boot and
"C=<8 hexadecimal digits>" every 220 ms, and obeys letters: p powers it off, r resets it, d makes it deaf to the power button,
w makes it write memory all the time.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Self

from ganeti.node.hypervisor.kvm.places import connect_socket

# Assembled by nasm; the listing is the source.
_CODE = bytes.fromhex(
    # start:
    "fa"  # cli
    "31c0"  # xor ax, ax
    "8ed8"  # mov ds, ax
    "8ec0"  # mov es, ax
    "8ed0"  # mov ss, ax
    "bc007c"  # mov sp, 0x7c00
    "fb"  # sti
    "ba0206"  # mov dx, 0x602  -- PM1 enable: power button
    "b80001"  # mov ax, 0x100
    "ef"  # out dx, ax
    "bafb03"  # mov dx, 0x3fb  -- COM1: 115200 8n1
    "b083"  # mov al, 0x83
    "ee"  # out dx, al
    "baf803"  # mov dx, 0x3f8
    "b001"  # mov al, 1
    "ee"  # out dx, al
    "42"  # inc dx
    "30c0"  # xor al, al
    "ee"  # out dx, al
    "bafb03"  # mov dx, 0x3fb
    "b003"  # mov al, 3
    "ee"  # out dx, al
    "b042"  # mov al, 'B'
    "e8b700"  # call putc
    # count:
    "66ff06f77c"  # inc dword [counter]
    "b043"  # mov al, 'C'
    "e8ad00"  # call putc
    "b03d"  # mov al, '='
    "e8a800"  # call putc
    "668b1ef77c"  # mov ebx, [counter]
    "b90800"  # mov cx, 8
    # digit:
    "66c1c304"  # rol ebx, 4
    "88d8"  # mov al, bl
    "240f"  # and al, 15
    "0430"  # add al, '0'
    "3c39"  # cmp al, '9'
    "7602"  # jbe small
    "0427"  # add al, 39
    # small:
    "e88d00"  # call putc
    "e2eb"  # loop digit
    "b00a"  # mov al, 10
    "e88600"  # call putc
    "668b1e6c04"  # mov ebx, [0x46c]  -- ticks of 55 ms, counted by the BIOS
    "6683c304"  # add ebx, 4
    # wait_:
    "bafd03"  # mov dx, 0x3fd  -- a letter?
    "ec"  # in al, dx
    "a801"  # test al, 1
    "741c"  # jz button
    "baf803"  # mov dx, 0x3f8
    "ec"  # in al, dx
    "3c70"  # cmp al, 'p'
    "745d"  # je off
    "3c72"  # cmp al, 'r'
    "7462"  # je reset
    "3c64"  # cmp al, 'd'
    "7504"  # jne not_deaf
    "fe06fb7c"  # inc byte [deaf]
    # not_deaf:
    "3c77"  # cmp al, 'w'
    "7504"  # jne button
    "fe06fc7c"  # inc byte [busy]
    # button:
    "ba0006"  # mov dx, 0x600  -- PM1 status
    "ed"  # in ax, dx
    "f6c401"  # test ah, 1
    "7408"  # jz work
    "ef"  # out dx, ax  -- writing ones clears them
    "803efb7c00"  # cmp byte [deaf], 0
    "7438"  # je off
    # work:
    "803efc7c00"  # cmp byte [busy], 0
    "7503"  # jne write
    "f4"  # hlt
    "eb24"  # jmp timer
    # write:
    "06"  # push es
    "b80010"  # mov ax, 0x1000
    # segment_:
    "8ec0"  # mov es, ax
    "8b3ef77c"  # mov di, [counter]
    "81e7fc0f"  # and di, 0xffc
    "b91000"  # mov cx, 16
    # page:
    "2666ff05"  # inc dword [es:di]
    "81c70010"  # add di, 4096
    "e2f6"  # loop page
    "050010"  # add ax, 0x1000
    "3d0090"  # cmp ax, 0x9000
    "72e1"  # jb segment_
    "07"  # pop es
    # timer:
    "66391e6c04"  # cmp [0x46c], ebx
    "7296"  # jb wait_
    "e959ff"  # jmp count
    # off:
    "ba0406"  # mov dx, 0x604  -- PM1 control: sleep, type S5
    "b80020"  # mov ax, 0x2000
    "ef"  # out dx, ax
    "fa"  # cli
    "f4"  # hlt
    # reset:
    "b0fe"  # mov al, 0xfe  -- keyboard controller: pulse the reset line
    "e664"  # out 0x64, al
    "f4"  # hlt
    "ebf9"  # jmp reset
    # putc:
    "52"  # push dx
    "50"  # push ax
    "bafd03"  # mov dx, 0x3fd
    # full:
    "ec"  # in al, dx
    "a820"  # test al, 0x20
    "74fb"  # jz full
    "58"  # pop ax
    "baf803"  # mov dx, 0x3f8
    "ee"  # out dx, al
    "5a"  # pop dx
    "c3"  # ret
    "00000000"  # counter: dd 0
    "00"  # deaf: db 0
    "00"  # busy: db 0

)


def write_disk(path: Path) -> None:
    """A disk of 1 MiB with the guest in its boot sector."""
    path.write_bytes((_CODE.ljust(510, b"\0") + b"\x55\xaa").ljust(1024 * 1024, b"\0"))


class Serial:
    """The guest's serial port, through its socket."""

    def __init__(self, path: str) -> None:
        self._socket = connect_socket(path)
        self._socket.settimeout(30.0)
        self.seen, self.text = "", ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, letter: str) -> None:
        """Give the guest an order."""
        self._socket.sendall(letter.encode())

    def read_until(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Wait until the pattern stands in what the guest has written since the last match."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text)
            if found is not None:
                self.seen += self.text[: found.end()]
                self.text = self.text[found.end() :]
                return found
            assert time.monotonic() < deadline, f"{pattern!r} not found in {self.text!r}"
            self.text += self._socket.recv(4096).decode("ascii", "replace")

    def drain(self) -> str:
        """All that the guest has written up to now, the last match included."""
        self._socket.settimeout(0.1)
        try:
            while data := self._socket.recv(4096):
                self.text += data.decode("ascii", "replace")
        except TimeoutError:
            pass  # no more
        return self.seen + self.text

    def count(self) -> int:
        """The next count that the guest writes."""
        return int(self.read_until(r"C=([0-9a-f]{8})\n")[1], 16)
