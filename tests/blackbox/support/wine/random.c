// What a current Rust program wants for its random numbers and Debian's Wine does not have. For tests alone.

#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG length);

#ifdef __i386__
// (the name under which it is asked for does not say how long its arguments are)
__asm__(".section .drectve\n.ascii \" -export:ProcessPrng=ProcessPrng@8\"\n.text");
#else
__declspec(dllexport)
#endif
BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length)
{
    return SystemFunction036(bytes, (ULONG)length);
}
