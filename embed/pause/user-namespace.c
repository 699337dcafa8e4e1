/*
 * user-namespace: makes a user namespace, and others that belong to it, and stays in them until its stdin ends, so that
 * they can be pinned. The kernel refuses unshare(CLONE_NEWUSER) to a process with threads, which the program itself is;
 * this one has none. It takes and gives four-byte integers:
 *
 *   stdin   the flags of the other namespaces
 *   stdout  0 or an errno: the user namespace is there, and its id maps can be written
 *   stdin   anything: they have been written
 *   stdout  0 or an errno: the other namespaces are there
 *   stdin   end
 */
#include <asm/unistd.h>
#include <linux/sched.h>

#include "system-call.h"

static void leave(void)
{
	system_call(__NR_exit_group, 0, 0, 0, 0);
}

static int receive(void)
{
	int value = 0;

	if (system_call(__NR_read, 0, (long)&value, sizeof(value), 0) != sizeof(value))
		leave();
	return value;
}

/* A result below 0 is an errno, and the end. */
static void answer(long result)
{
	int value = -result;

	system_call(__NR_write, 1, (long)&value, sizeof(value), 0);
	if (value != 0)
		leave();
}

/* As root of the new namespace, so that what the others create on their own is root's. */
static long become_root(void)
{
	long result = system_call(__NR_setgroups, 0, 0, 0, 0);

	if (result == 0)
		result = system_call(__NR_setresgid, 0, 0, 0, 0);
	if (result == 0)
		result = system_call(__NR_setresuid, 0, 0, 0, 0);
	return result;
}

void _start(void)
{
	long flags = receive();
	long result;

	answer(system_call(__NR_unshare, CLONE_NEWUSER, 0, 0, 0));
	receive();
	result = become_root();
	if (result == 0)
		result = system_call(__NR_unshare, flags, 0, 0, 0);
	answer(result);
	receive();
	leave();
}
