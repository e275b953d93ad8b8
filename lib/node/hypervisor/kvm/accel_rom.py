"""A guest of 64 KiB that shows whether KVM runs real kernels: what an x86-64 kernel does in its first moments, in a ROM image.

It goes from real mode to 64-bit mode with paging, takes and repairs page faults, looks at its own flags and privilege, visits
ring 3 by SYSRET and SYSCALL, and computes for a while. Then it ends the emulator through ``isa-debug-exit``, whose exit
status is twice the value written, plus one. Reference: Intel SDM volume 3, chapters 3 to 6 and 9.9.
"""

from __future__ import annotations

SIZE = 0x10000
RESET_VECTOR = 0xFFF0
EXIT_PORT = 0xF4
SUCCESS = 0x21

STAGES = {
    0x11: "its kernel code runs without kernel privileges",
    0x12: "a page fault was not delivered as it should",
    0x13: "a page that was unmapped stayed visible",
    0x14: "interrupts are on although the guest has switched them off",
    0x15: "the guest could not enter user mode",
    0x16: "a system call did not get back to kernel mode",
}
"""What a value other than `SUCCESS` means."""

# Assembled by nasm; the listing is the source. The image is seen at F000:0000 and just below 4 GiB.
_CODE = bytes.fromhex(
    # --- 16-bit
    # start:
    "fa"  # cli
    "2e660f0116e801"  # o32 lgdt [cs:gdtr]
    "0f20c0"  # mov eax, cr0
    "0c01"  # or al, 1
    "0f22c0"  # mov cr0, eax
    "66ea18000f000800"  # jmp dword 8:(0xf0000+prot)
    # --- 32-bit
    # prot:
    "66b81000"  # mov ax, 16
    "8ed8"  # mov ds, ax
    "8ec0"  # mov es, ax
    "8ed0"  # mov ss, ax
    "bc00700000"  # mov esp, 0x7000
    # page tables: PML4 0x1000, PDPT 0x2000, PD 0x3000
    "fc"  # cld
    "31c0"  # xor eax, eax
    "bf00100000"  # mov edi, 0x1000
    "b900140000"  # mov ecx, 0x1400
    "f3ab"  # rep stosd
    "c7050010000007200000"  # mov dword [0x1000], 0x2007
    "c7050020000007300000"  # mov dword [0x2000], 0x3007
    "c7050030000087000000"  # mov dword [0x3000], 0x87  -- first 2 MiB, large page, user
    "0f20e0"  # mov eax, cr4
    "83c820"  # or eax, 0x20  -- PAE
    "0f22e0"  # mov cr4, eax
    "b800100000"  # mov eax, 0x1000
    "0f22d8"  # mov cr3, eax
    "b9800000c0"  # mov ecx, 0xc0000080  -- EFER
    "0f32"  # rdmsr
    "0d01010000"  # or eax, 0x101  -- LME, SCE
    "0f30"  # wrmsr
    "0f20c0"  # mov eax, cr0
    "0d00000080"  # or eax, 0x80000000
    "0f22c0"  # mov cr0, eax
    "ea85000f001800"  # jmp 24:(0xf0000+long64)
    # --- 64-bit
    # long64:
    "66b81000"  # mov ax, 16
    "8ed8"  # mov ds, ax
    "8ec0"  # mov es, ax
    "8ed0"  # mov ss, ax
    "bb11000000"  # mov ebx, 0x11
    "8cc8"  # mov eax, cs  -- a hypervisor that runs ring 0 in ring 3 shows here
    "a803"  # test al, 3
    "0f85e1000000"  # jnz fail
    # page fault gate
    "ffc3"  # inc ebx
    "c70425e050000084011800"  # mov dword [0x50e0], 0x00180000 + (pf-start)
    "c70425e4500000008e0f00"  # mov dword [0x50e4], 0x000f8e00
    "0f011c25ee010f00"  # lidt [abs 0xf0000+idtr]
    "48b88877665544332211"  # mov rax, 0x1122334455667788
    "4889042500002000"  # mov [abs 0x200000], rax
    "4839042500002000"  # cmp [abs 0x200000], rax
    "0f85a1000000"  # jne fail
    "833c250060000001"  # cmp dword [abs 0x6000], 1  -- exactly one fault was taken
    "0f8593000000"  # jne fail
    # unmap again: must fault again
    "ffc3"  # inc ebx
    "488324250830000000"  # and qword [abs 0x3008], 0
    "0f013c2500002000"  # invlpg [abs 0x200000]
    "4839042500002000"  # cmp [abs 0x200000], rax
    "7576"  # jne fail
    "833c250060000002"  # cmp dword [abs 0x6000], 2
    "756c"  # jne fail
    # flags
    "ffc3"  # inc ebx
    "9c"  # pushfq
    "58"  # pop rax
    "f6c402"  # test ah, 2
    "7563"  # jnz fail
    # ring 3 and back
    "ffc3"  # inc ebx
    "b9810000c0"  # mov ecx, 0xc0000081  -- STAR: kernel 0x18, user base 0x20 (cs 0x30, ss 0x28)
    "31c0"  # xor eax, eax
    "ba18002300"  # mov edx, 0x00230018
    "0f30"  # wrmsr
    "ffc1"  # inc ecx  -- LSTAR
    "b866010f00"  # mov eax, 0xf0000+sysc
    "31d2"  # xor edx, edx
    "0f30"  # wrmsr
    "0f32"  # rdmsr
    "3d66010f00"  # cmp eax, 0xf0000+sysc
    "753f"  # jne fail
    "b9840000c0"  # mov ecx, 0xc0000084  -- SFMASK
    "31c0"  # xor eax, eax
    "31d2"  # xor edx, edx
    "0f30"  # wrmsr
    "b959010f00"  # mov ecx, 0xf0000+user
    "41bb02000000"  # mov r11d, 2
    "480f07"  # o64 sysret
    # user:
    "8cc8"  # mov eax, cs
    "2403"  # and al, 3
    "3c03"  # cmp al, 3
    "7504"  # jne trap
    "ffc3"  # inc ebx
    "0f05"  # syscall
    # trap:
    "f4"  # hlt  -- faults in ring 3 without a gate: triple fault, QEMU ends without our status
    # sysc:
    "8cc8"  # mov eax, cs
    "a803"  # test al, 3
    "7513"  # jnz fail
    "83fb16"  # cmp ebx, 0x16
    "750e"  # jne fail
    "b9002d3101"  # mov ecx, 20000000  -- real hardware: some 10 ms; an emulating hypervisor: longer than anybody waits
    # spin:
    "ffc9"  # dec ecx
    "75fc"  # jnz spin
    "bb21000000"  # mov ebx, 0x21
    # fail:
    "89d8"  # mov eax, ebx
    "e6f4"  # out 0xf4, al
    "f4"  # hlt
    # pf:
    "50"  # push rax
    "0f20d0"  # mov rax, cr2
    "483d00002000"  # cmp rax, 0x200000
    "75ef"  # jne fail
    "ff042500600000"  # inc dword [abs 0x6000]
    "48c704250830000087002000"  # mov qword [abs 0x3008], 0x200087
    "58"  # pop rax
    "4883c408"  # add rsp, 8
    "48cf"  # iretq
    "909090909090"  # align 8
    # gdt:
    "0000000000000000"  # dq 0
    "ffff0000009bcf00"  # descriptor: 08 code 32
    "ffff00000093cf00"  # descriptor: 10 data
    "ffff0000009baf00"  # descriptor: 18 code 64
    "ffff00000093cf00"  # descriptor: 20 data (syscall ss)
    "ffff000000f3cf00"  # descriptor: 28 user data
    "ffff000000fbaf00"  # descriptor: 30 user code 64
    # gdtr:
    "3700"  # dw $-gdt-1
    "b0010f00"  # dd 0xf0000+gdt
    # idtr:
    "ff0f"  # dw 0xfff
    "0050000000000000"  # dq 0x5000
)


def build_rom() -> bytes:
    """The image for ``-bios``."""
    jump = bytes.fromhex("ea000000f0")  # jmp f000:0000
    return (_CODE.ljust(RESET_VECTOR, b"\xf4") + jump).ljust(SIZE, b"\0")
