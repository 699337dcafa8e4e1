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

#include "system-call.h"

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
