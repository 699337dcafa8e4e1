/*
 * facts: prints everything that a process finds out about itself, line by line, to be compared with that of another one.
 * facts filter PID: prints the seccomp filters of a process, the newest first, a line of hex for each.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

static char buffer[1 << 20];

static void print_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t size = 0, count;

	if (fd < 0) {
		printf("%s: %s\n", path, strerror(errno));
		return;
	}
	while ((count = read(fd, buffer + size, sizeof buffer - 1 - size)) > 0)
		size += count;
	close(fd);
	for (ssize_t i = 0; i < size; i++)
		if (buffer[i] == 0)
			buffer[i] = '\n';
	buffer[size] = 0;
	for (char *line = strtok(buffer, "\n"); line; line = strtok(NULL, "\n"))
		printf("%s: %s\n", path, line);
}

static void print_namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children",
		"time", "time_for_children", "user", "uts" };
	char path[64], link[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
		ssize_t size = readlink(path, link, sizeof link);
		printf("%s: %.*s\n", path, (int)(size < 0 ? 0 : size), link);
	}
}

static void print_descriptors(void)
{
	struct stat found;

	for (int fd = 0; fd < 4096; fd++)
		if (fstat(fd, &found) == 0)
			printf("fd %d: mode %o owner %u:%u device %lx flags %x %x\n", fd, found.st_mode, found.st_uid,
			       found.st_gid, (long)found.st_rdev, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
}

static void print_ids(void)
{
	uid_t uids[3];
	gid_t gids[3], groups[1024];
	int count;

	getresuid(&uids[0], &uids[1], &uids[2]);
	getresgid(&gids[0], &gids[1], &gids[2]);
	printf("uids %u %u %u gids %u %u %u groups", uids[0], uids[1], uids[2], gids[0], gids[1], gids[2]);
	count = getgroups(1024, groups);
	for (int i = 0; i < count; i++)
		printf(" %u", groups[i]);
	printf("\nleads its session %d and group %d\n", getsid(0) == getpid(), getpgrp() == getpid());
}

static void print_attributes(void)
{
	static const int calls[] = { PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_SECUREBITS, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP,
		PR_GET_TIMERSLACK, PR_GET_THP_DISABLE };
	int value = -1;
	cpu_set_t cpus;
	mode_t mask = umask(0);

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		printf("prctl %d: %d\n", calls[i], prctl(calls[i], 0, 0, 0, 0));
	prctl(PR_GET_PDEATHSIG, &value);
	printf("parent's death: %d\n", value);
	prctl(PR_GET_CHILD_SUBREAPER, &value);
	printf("sub-reaper: %d\n", value);
	printf("umask %o nice %d scheduler %d io %ld personality %x\n", mask, getpriority(PRIO_PROCESS, 0),
	       sched_getscheduler(0), syscall(SYS_ioprio_get, 1, 0), personality(0xffffffff));
	CPU_ZERO(&cpus);
	sched_getaffinity(0, sizeof cpus, &cpus);
	printf("cpus %d\n", CPU_COUNT(&cpus));
	printf("handlers:");
	for (int signal = 1; signal < 65; signal++) {
		struct sigaction action;
		if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
			printf(" %d", signal);
	}
	printf("\n");
}

static void print_keyring(void)
{
	long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
	long size = syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, buffer, sizeof buffer);

	printf("session keyring %ld: %s\n", serial, size < 0 ? strerror(errno) : buffer);
}

/* In a child: a filter may kill. */
static void print_call(const char *name, long number, long a, long b)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(syscall(number, a, b, 0, 0, 0) < 0 ? errno : 0);
	waitpid(child, &status, 0);
	printf("call %s: status %x\n", name, status);
}

static int print_filters(int pid)
{
	static struct sock_filter filter[BPF_MAXINSNS];
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 ||
	    waitpid(pid, &status, __WALL) < 0) {
		perror("ptrace");
		return 1;
	}
	for (long index = 0;; index++) {
		long count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, filter);
		if (count < 0) {
			if (errno == ENOENT || errno == EINVAL)
				return 0;
			perror("PTRACE_SECCOMP_GET_FILTER");
			return 1;
		}
		for (size_t i = 0; i < count * sizeof *filter; i++)
			printf("%02x", ((unsigned char *)filter)[i]);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	static const char *const files[] = { "/proc/self/status", "/proc/self/cgroup", "/proc/self/limits",
		"/proc/self/mountinfo", "/proc/self/environ", "/proc/self/cmdline", "/proc/self/oom_score_adj",
		"/proc/self/loginuid", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
		"/proc/self/coredump_filter", "/proc/self/timens_offsets", "/proc/self/cpuset",
		"/proc/self/attr/current", "/proc/self/comm", "/proc/self/personality" };
	char cwd[4096];

	if (argc == 3 && strcmp(argv[1], "filter") == 0)
		return print_filters(atoi(argv[2]));
	print_descriptors();
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		print_file(files[i]);
	print_namespaces();
	print_ids();
	print_attributes();
	print_keyring();
	printf("in %s\n", getcwd(cwd, sizeof cwd));
	print_call("600", 600, 0, 0);
	print_call("1000", 1000, 0, 0);
	print_call("-1", -1, 0, 0);
	print_call("clone3", SYS_clone3, 0, 0);
	print_call("unshare", SYS_unshare, CLONE_NEWUSER, 0);
	print_call("add_key", SYS_add_key, 0, 0);
	print_call("bpf", SYS_bpf, 0, 0);
	print_call("mount", SYS_mount, 0, 0);
	print_call("AF_ALG", SYS_socket, 38, 5);
	print_call("AF_INET", SYS_socket, 2, 1);
	print_call("personality", SYS_personality, 0x40000, 0);
	return 0;
}
