/*
 * without-unified PROGRAM ARG...: becomes the program in a mount namespace that lacks the unified cgroup hierarchy of a
 * hybrid node, which crun refuses to run on. Only the mount that carries the hierarchy is made private, so that the
 * unmounting stays here; all others stay peers of the node's, and containers see its later mounts, and it theirs.
 * PROGRAM is an absolute path and gets the environment as it is.
 */
#include <asm/unistd.h>
#include <linux/mount.h>
#include <linux/sched.h>

#include "entry.h"
#include "system-call.h"

#define MNT_DETACH 2

static void fail(const char *message, long size)
{
	system_call(__NR_write, 2, (long)message, size, 0);
	system_call(__NR_exit_group, 127, 0, 0, 0);
}

#define FAIL(message) fail("without-unified: " message "\n", sizeof("without-unified: " message))

__attribute__((used)) void start(long *stack)
{
	long argc = stack[0];
	char **argv = (char **)(stack + 1);
	char **environment = argv + argc + 1;

	if (argc < 2)
		FAIL("names no program");
	if (system_call(__NR_unshare, CLONE_NEWNS, 0, 0, 0) < 0)
		FAIL("unshare a mount namespace");
	if (system_call5(__NR_mount, (long)"none", (long)"/sys/fs/cgroup", 0, MS_PRIVATE, 0) < 0)
		FAIL("make /sys/fs/cgroup private");
	if (system_call(__NR_umount2, (long)"/sys/fs/cgroup/unified", MNT_DETACH, 0, 0) < 0)
		FAIL("unmount /sys/fs/cgroup/unified");
	system_call(__NR_execve, (long)argv[1], (long)(argv + 1), (long)environment, 0);
	FAIL("execute the program");
}
