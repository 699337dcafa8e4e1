/*
 * pause: the first process of a pod whose containers share a PID namespace. It keeps the namespace, reaps orphans and
 * ends on SIGTERM or SIGINT. Built without a C library: one page of code, no heap, nothing to load, because every such
 * pod keeps one for its whole life.
 *
 * All three signals stay blocked and are taken with rt_sigtimedwait. The kernel drops a signal that the init process of
 * a namespace has no handler for, except while it is blocked, so no handler is needed.
 */
#include <asm/unistd.h>
#include <linux/signal.h>
#include <linux/wait.h>

static long system_call(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#else
#error "pause: system calls of this architecture are not written yet"
#endif
}

static unsigned long bit(int signal)
{
	return 1UL << (signal - 1);
}

void _start(void)
{
	unsigned long awaited = bit(SIGCHLD) | bit(SIGTERM) | bit(SIGINT);

	system_call(__NR_rt_sigprocmask, SIG_BLOCK, (long)&awaited, 0, sizeof(awaited));
	for (;;) {
		long signal = system_call(__NR_rt_sigtimedwait, (long)&awaited, 0, 0, sizeof(awaited));

		if (signal == SIGTERM || signal == SIGINT)
			system_call(__NR_exit_group, 0, 0, 0, 0);
		/* Children that ended together leave one SIGCHLD: take all there are. */
		while (system_call(__NR_wait4, -1, 0, WNOHANG, 0) > 0)
			;
	}
}
