/*
 * namespaces STEP...: makes namespaces, sets them up and pins them, in the order given. One page without a C library,
 * because every pod waits for it; and the kernel refuses a new user namespace to a process with threads, which the
 * program itself is. Steps are words with their arguments:
 *
 *   unshare FLAGS           new namespaces, which this process is in afterwards
 *   user FLAGS UIDS GIDS    the same in a new user namespace with these id maps, which this process stays out of
 *   enter FILE              a network namespace that is pinned there
 *   up                      the loopback interface
 *   hostname NAME
 *   write FILE VALUE        in one write, a file that is there
 *   offer FILE VALUE        the same, and a file that is not there is fine
 *   as UID                  further steps
 *   pin SOURCE FILE         a namespace (ns/net) of the process that is in the new ones, onto a file that is there
 *
 * Exits with 0 after the last one. Else with 1, and two numbers on stdout: how many words came before the step, its errno.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/sockios.h>

#include "entry.h"
#include "system-call.h"

/* The kernel's signal.h and the C library's socket.h, which if.h brings, are at odds. */
#define SIGCHLD 17
#define SIGKILL 9

/* The process that is in the new user namespace until all is pinned, and our end of what we talk over. */
static long holder;
static int link_end;

static void leave(int code)
{
	if (holder > 0) {
		system_call(__NR_close, link_end, 0, 0, 0);
		system_call(__NR_wait4, holder, 0, 0, 0);
	}
	system_call(__NR_exit_group, code, 0, 0, 0);
}

static int equal(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	return *a == *b;
}

static long length(const char *text)
{
	long count = 0;

	while (text[count] != '\0')
		count++;
	return count;
}

static long number(const char *digits)
{
	long value = 0;

	while (*digits != '\0')
		value = 10 * value + *digits++ - '0';
	return value;
}

/* Puts the digits in front of `end`, and answers where they begin. */
static char *digits(char *end, long value)
{
	do
		*--end = '0' + value % 10;
	while ((value /= 10) > 0);
	return end;
}

static void fail(long words_before, long result)
{
	char text[48];
	char *end = text + sizeof(text);
	char *at = digits(end, -result);

	*--at = ' ';
	at = digits(at, words_before);
	system_call(__NR_write, 1, (long)at, end - at, 0);
	leave(1);
}

static long write_file(const char *path, const char *value)
{
	long fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_WRONLY | O_CLOEXEC, 0);
	long result;

	if (fd < 0)
		return fd;
	result = system_call(__NR_write, fd, (long)value, length(value), 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return result;
}

static long loopback_up(void)
{
	static struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	long fd = system_call(__NR_socket, AF_UNIX, SOCK_DGRAM, 0, 0);
	long result;

	if (fd < 0)
		return fd;
	result = system_call(__NR_ioctl, fd, SIOCSIFFLAGS, (long)&request, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return result;
}

/* Where the files of a process are: its id maps, its namespaces. */
static long go_to_process(long pid)
{
	char text[24] = "";
	long result = system_call(__NR_chdir, (long)"/proc", 0, 0, 0);

	return result < 0 ? result : system_call(__NR_chdir, (long)digits(text + sizeof(text) - 1, pid), 0, 0, 0);
}

static long unshare(long flags)
{
	long result = flags == 0 ? 0 : system_call(__NR_unshare, flags, 0, 0, 0);

	return result < 0 ? result : system_call(__NR_chdir, (long)"/proc/self", 0, 0, 0);
}

static long enter_network(const char *path)
{
	long fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
	long result;

	if (fd < 0)
		return fd;
	result = system_call(__NR_setns, fd, CLONE_NEWNET, 0, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return result;
}

/* One byte from the other side: 0, or an errno. */
static long hear(int fd)
{
	unsigned char code;

	return system_call(__NR_read, fd, (long)&code, 1, 0) == 1 ? -(long)code : -EPIPE;
}

static void tell(int fd, long result)
{
	unsigned char code = -result;

	system_call(__NR_write, fd, (long)&code, 1, 0);
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

/* The holder's life: it ends with the other side of `fd`. */
static void hold(int fd, long flags)
{
	long result = system_call(__NR_unshare, CLONE_NEWUSER, 0, 0, 0);

	tell(fd, result);
	if (hear(fd) == 0) {
		result = become_root();
		if (result == 0 && flags != 0)
			result = system_call(__NR_unshare, flags, 0, 0, 0);
		tell(fd, result);
		hear(fd);
	}
	leave(0);
}

static long enter(long pid, long flags)
{
	long fd = system_call(__NR_pidfd_open, pid, 0, 0, 0);
	long result;

	if (fd < 0)
		return fd;
	result = system_call(__NR_setns, fd, flags, 0, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return result;
}

static long unshare_user(long flags, const char *uids, const char *gids)
{
	int ends[2];
	long result = system_call(__NR_socketpair, AF_UNIX, SOCK_STREAM, 0, (long)ends);
	long child;

	if (result < 0)
		return result;
	child = system_call5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (child < 0)
		return child;
	system_call(__NR_close, ends[child == 0 ? 0 : 1], 0, 0, 0);
	if (child == 0)
		hold(ends[1], flags);
	holder = child;
	link_end = ends[0];
	result = hear(link_end);
	if (result == 0)
		result = go_to_process(holder);
	if (result == 0)
		result = write_file("uid_map", uids);
	if (result >= 0)
		result = write_file("gid_map", gids);
	if (result < 0)
		return result;
	tell(link_end, 0);
	result = hear(link_end);
	return result < 0 || flags == 0 ? result : enter(holder, flags);
}

static long offer(const char *path, const char *value)
{
	long result = write_file(path, value);

	return result == -ENOENT ? 0 : result;
}

__attribute__((used)) void start(long *stack)
{
	long argc = stack[0];
	/* The kernel ends the list with a null pointer, and each step's arguments are there: our caller is one program. */
	char **argv = (char **)(stack + 1);

	/* What a killed daemon had begun is undone by the next one, and must not go on meanwhile. */
	system_call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	for (long at = 1; at < argc;) {
		char **step = argv + at;
		long words = 3;
		long result;

		if (equal(step[0], "unshare"))
			result = unshare(number(step[1])), words = 2;
		else if (equal(step[0], "user"))
			result = unshare_user(number(step[1]), step[2], step[3]), words = 4;
		else if (equal(step[0], "enter"))
			result = enter_network(step[1]), words = 2;
		else if (equal(step[0], "up"))
			result = loopback_up(), words = 1;
		else if (equal(step[0], "hostname"))
			result = system_call(__NR_sethostname, (long)step[1], length(step[1]), 0, 0), words = 2;
		else if (equal(step[0], "as"))
			result = system_call(__NR_setresuid, -1, number(step[1]), -1, 0), words = 2;
		else if (equal(step[0], "write"))
			result = write_file(step[1], step[2]);
		else if (equal(step[0], "offer"))
			result = offer(step[1], step[2]);
		else if (equal(step[0], "pin"))
			result = system_call5(__NR_mount, (long)step[1], (long)step[2], 0, MS_BIND, 0);
		else
			result = -EINVAL;
		if (result < 0)
			fail(at - 1, result);
		at += words;
	}
	leave(0);
}
