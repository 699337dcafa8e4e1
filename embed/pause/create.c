/*
 * create PROGRAM "create" ID PLAN: makes a container as `runc create` does, with the same result, in a few milliseconds. Its
 * first process is started into new namespaces beside this one, a child of our caller, makes its root file system and
 * becomes its user; it then waits, as runc's does, until somebody reads from a pipe, and becomes the program. What runc
 * writes down of a container is written down here, for runc to find.
 *
 * Nobody's but its caller's: src/runtime/oci/direct/create/ writes the plan, a file of texts that each end with a null byte, in
 * the order in which they are read here; numbers are decimal. The file is removed. The first words are those of runc's own
 * command, by which one that was cut off is found. Nothing is loaded, nothing is allocated, and the file that this is
 * started from is a sealed copy in memory, so that a program called /proc/self/exe finds nothing of the node.
 *
 *   0 1 2  the container's
 *   3      where it tells the first process's pid and, if it fails, an errno and the step; four-byte integers and text
 */
#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/socket.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <linux/un.h>

#include "entry.h"
#include "memory.h"
#include "system-call.h"

#define AT_FDCWD (-100)
#define AF_UNIX 1
#define AT_EACCESS 0x200
#define X_OK 1
#define SIGKILL 9
#define SOCK_SEQPACKET 5
#define SOCK_STREAM 1
#define SOCK_CLOEXEC O_CLOEXEC
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define DEVPTS_SUPER_MAGIC 0x1cd1

enum { REPORT = 3, FIRST_FREE = 4 };
enum { MAX_PLAN = 1 << 20, MAX_STRINGS = 1 << 14, MAX_GROUPS = 1024, MAX_NAMESPACES = 8, MAX_CGROUPS = 32, MAX_TEXT = 4096 };
/* What the first process tells us, and we it. */
enum { READY = 'r', GO = 'g', DONE = 'd', FAILED = 'f' };
/* The exit code of a container whose program could not be started. */
enum { NOT_STARTED = 128 };

struct message {
	char kind;
	int error;
	char step[128];
};

static char plan[MAX_PLAN + 1];
static char *cursor = plan;
static char *plan_end = plan;
static long filter_offset;

static int is_child;
static int link_end;
static long child;
static long child_fd = -1;
static void undo(void);

static long length(const char *text)
{
	long count = 0;

	while (text[count] != '\0')
		count++;
	return count;
}

static void copy(char *to, const char *from, long size)
{
	for (long i = 0; i < size; i++)
		((volatile char *)to)[i] = from[i];
}

static int same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	return *a == *b;
}

static void report(int error, const char *step)
{
	int numbers[2] = { (int)child, error };
	char text[sizeof(numbers) + sizeof(((struct message *)0)->step)];
	long size = length(step);

	copy(text, (char *)numbers, sizeof(numbers));
	copy(text + sizeof(numbers), step, size);
	system_call(__NR_write, REPORT, (long)text, sizeof(numbers) + size, 0);
}

static void send(char kind, int error, const char *step)
{
	struct message message = { .kind = kind, .error = error };
	long size = length(step);

	copy(message.step, step, size < (long)sizeof(message.step) ? size : (long)sizeof(message.step) - 1);
	/* The other end may be gone, which it is not to end by. */
	system_call6(__NR_sendto, link_end, (long)&message, sizeof(message), MSG_NOSIGNAL, 0, 0);
}

static void fail(long error, const char *step)
{
	if (is_child) {
		send(FAILED, (int)error, step);
		system_call(__NR_exit_group, 1, 0, 0, 0);
	}
	undo();
	report((int)error, step);
	system_call(__NR_exit_group, 1, 0, 0, 0);
}

/* Ends with the step's name unless the result of its system call is good. */
#define MUST(step, result)                       \
	do {                                     \
		long must = (result);            \
		if (must < 0)                    \
			fail(-must, step);       \
	} while (0)

#include "process.h"

static char *text(void)
{
	char *found = cursor;

	while (cursor < plan_end && *cursor != 0)
		cursor++;
	if (cursor >= plan_end)
		MUST("read the plan", -EINVAL);
	cursor++;
	return found;
}

static unsigned long number(void)
{
	char *digits = text();
	unsigned long value = 0;

	/* What is no number must not be read as root's. */
	if (*digits == 0)
		MUST("read a number of the plan", -EINVAL);
	for (; *digits != 0; digits++) {
		if (*digits < '0' || *digits > '9')
			MUST("read a number of the plan", -EINVAL);
		value = value * 10 + (unsigned long)(*digits - '0');
	}
	return value;
}

#include "rootfs.h"

static char *digits_of(char *end, unsigned long value)
{
	do
		*--end = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	return end;
}

static long read_file(const char *directory, const char *name, char *to, long size)
{
	char path[MAX_TEXT];
	long used = length(directory);
	long fd, count;

	if (used + length(name) + 2 > (long)sizeof(path))
		return -ENAMETOOLONG;
	copy(path, directory, used);
	path[used] = '/';
	copy(path + used + 1, name, length(name) + 1);
	fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	count = system_call(__NR_read, fd, (long)to, size - 1, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	if (count >= 0)
		to[count] = 0;
	return count;
}

static long write_file(const char *directory, const char *name, const char *value)
{
	char path[MAX_TEXT];
	long used = length(directory);
	long fd, written;

	if (used + length(name) + 2 > (long)sizeof(path))
		return -ENAMETOOLONG;
	copy(path, directory, used);
	path[used] = '/';
	copy(path + used + 1, name, length(name) + 1);
	fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	written = system_call(__NR_write, fd, (long)value, length(value), 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return written;
}

/* Cgroups */

static char *made_cgroups[MAX_CGROUPS];
static int made_count;

/* With all above it; the last one must be new. */
static void make_cgroup(char *path)
{
	long made = system_call(__NR_mkdirat, AT_FDCWD, (long)path, 0755, 0);

	if (made == -ENOENT) {
		for (char *slash = path + 1; *slash != 0; slash++) {
			if (*slash != '/')
				continue;
			*slash = 0;
			made = system_call(__NR_mkdirat, AT_FDCWD, (long)path, 0755, 0);
			*slash = '/';
			if (made != -EEXIST)
				MUST("make a cgroup", made);
		}
		made = system_call(__NR_mkdirat, AT_FDCWD, (long)path, 0755, 0);
	}
	MUST("make a cgroup", made);
	if (made_count == MAX_CGROUPS)
		MUST("make a cgroup", -E2BIG);
	made_cgroups[made_count++] = path;
}

/* A new cpuset is empty: no process may be in it before it has what is above it. */
static void inherit_cpuset(char *path, const char *file)
{
	char value[MAX_TEXT], above[MAX_TEXT];
	char *slash = path;
	long count = read_file(path, file, value, sizeof(value));

	MUST("read a cpuset", count);
	if (count > 1)
		return;
	for (char *c = path; *c != 0; c++)
		if (*c == '/')
			slash = c;
	*slash = 0;
	count = read_file(path, file, above, sizeof(above));
	*slash = '/';
	MUST("read a cpuset", count);
	MUST("write a cpuset", write_file(path, file, above));
}

static void make_cpuset(char *path, long root_length)
{
	const char *cpus, *mems;

	make_cgroup(path);
	for (char *slash = path + root_length + 1; *slash != 0; slash++) {
		if (*slash != '/')
			continue;
		*slash = 0;
		inherit_cpuset(path, "cpuset.cpus");
		inherit_cpuset(path, "cpuset.mems");
		*slash = '/';
	}
	cpus = text();
	mems = text();
	if (*cpus != 0)
		MUST("write a cpuset", write_file(path, "cpuset.cpus", cpus));
	if (*mems != 0)
		MUST("write a cpuset", write_file(path, "cpuset.mems", mems));
	inherit_cpuset(path, "cpuset.cpus");
	inherit_cpuset(path, "cpuset.mems");
}

static void make_cgroups(void)
{
	for (unsigned long count = number(); count > 0; count--) {
		char *path = text();
		unsigned long root_length = number();

		if (root_length > 0)
			make_cpuset(path, (long)root_length);
		else
			make_cgroup(path);
	}
}

/* Limits, in their order; some are read again, because the kernel takes what it can of them. */
static void set_cgroup_files(void)
{
	static char value[1 << 16];

	for (unsigned long count = number(); count > 0; count--) {
		char kind = *text();
		const char *directory = text();
		const char *name = text();
		const char *wanted = text();

		if (kind == 'w') {
			MUST("set a limit of the cgroup", write_file(directory, name, wanted));
			continue;
		}
		MUST("read a limit of the cgroup", read_file(directory, name, value, sizeof(value)));
		if (!same(value, wanted))
			MUST("check a limit of the cgroup", -ERANGE);
	}
}

/* That of version 2: a process is started in it; an old kernel lets it only be moved there. */
static const char *unified_cgroup;
static int starts_in_cgroup;

/*
 * In version 1 by "tasks" and not by "cgroup.procs": for a process of one thread it is the same, but the kernel need not keep
 * all processes of the node from being started and ended meanwhile, for which it would wait some ten milliseconds.
 */
static void join_cgroups(void)
{
	for (unsigned long count = number(); count > 0; count--)
		MUST("join the cgroup", write_file(text(), "tasks", "0"));
	if (*unified_cgroup != 0 && !starts_in_cgroup)
		MUST("join the cgroup", write_file(unified_cgroup, "cgroup.procs", "0"));
}

/* What runc keeps of the container */

static char *state_directory;
static int has_state_directory;
static long state_fd = -1;

static void undo(void)
{
	struct __kernel_timespec pause = { .tv_nsec = 2000000 };

	if (child_fd >= 0) {
		struct pollfd ended = { .fd = (int)child_fd, .events = POLLIN };

		system_call(__NR_pidfd_send_signal, child_fd, SIGKILL, 0, 0);
		system_call(__NR_ppoll, (long)&ended, 1, 0, 0);
	}
	if (state_fd >= 0) {
		system_call(__NR_unlinkat, state_fd, (long)"exec.fifo", 0, 0);
		system_call(__NR_unlinkat, state_fd, (long)"state-new", 0, 0);
		system_call(__NR_unlinkat, state_fd, (long)"state.json", 0, 0);
	}
	if (has_state_directory)
		system_call(__NR_unlinkat, AT_FDCWD, (long)state_directory, AT_REMOVEDIR, 0);
	while (made_count > 0) {
		const char *path = made_cgroups[--made_count];

		for (int i = 0; i < 500 && system_call(__NR_unlinkat, AT_FDCWD, (long)path, AT_REMOVEDIR, 0) == -EBUSY; i++)
			system_call(__NR_nanosleep, (long)&pause, 0, 0, 0);
	}
}

/* The directory of the container, and the pipe by which its first process is told to go on. */
static long make_state_directory(void)
{
	char *root = text();
	long mask, fifo;

	state_directory = text();
	system_call(__NR_mkdirat, AT_FDCWD, (long)root, 0700, 0);
	MUST("make the directory of the container's state", system_call(__NR_mkdirat, AT_FDCWD, (long)state_directory, 0711, 0));
	has_state_directory = 1;
	state_fd = system_call(__NR_openat, AT_FDCWD, (long)state_directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	MUST("open the directory of the container's state", state_fd);
	mask = system_call(__NR_umask, 0, 0, 0, 0);
	MUST("make the pipe of the first process", system_call(__NR_mknodat, state_fd, (long)"exec.fifo", S_IFIFO | 0622, 0));
	system_call(__NR_umask, mask, 0, 0, 0);
	fifo = system_call(__NR_openat, state_fd, (long)"exec.fifo", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	MUST("open the pipe of the first process", fifo);
	return fifo;
}

/* proc_pid_stat(5): the 22nd field, in clock ticks since boot. */
static const char *start_time(char *to, long size)
{
	char directory[32] = "/proc/";
	char digits[24] = "";
	char *pid = digits_of(digits + sizeof(digits) - 1, (unsigned long)child);
	char *field = to;
	char *end;

	copy(directory + 6, pid, length(pid) + 1);
	MUST("read when the first process was started", read_file(directory, "stat", to, size));
	for (char *c = to; *c != 0; c++)
		if (*c == ')')
			field = c;
	for (int i = 0; i < 20 && *field != 0; i++) {
		while (*field != ' ' && *field != 0)
			field++;
		while (*field == ' ')
			field++;
	}
	end = field;
	while (*end >= '0' && *end <= '9')
		end++;
	*end = 0;
	if (end == field)
		MUST("read when the first process was started", -EINVAL);
	return field;
}

/* The names of the stdio, as a list in JSON. */
static void describe_stdio(char *to, long size)
{
	char *end = to + size - 8;

	*to++ = '[';
	for (int fd = 0; fd <= 2; fd++) {
		char link[16] = "/proc/self/fd/0";
		long count;

		link[14] = (char)('0' + fd);
		if (fd > 0)
			*to++ = ',';
		*to++ = '"';
		count = system_call(__NR_readlinkat, AT_FDCWD, (long)link, (long)to, end - to);
		MUST("read the name of the stdio", count);
		for (long i = 0; i < count; i++)
			if (to[i] == '"' || to[i] == '\\' || to[i] < ' ' || to[i] > '~')
				MUST("write the name of the stdio", -EINVAL);
		to += count;
		if (to >= end)
			MUST("write the name of the stdio", -E2BIG);
		*to++ = '"';
	}
	*to++ = ']';
	*to = 0;
}

static void write_all(long fd, const char *from, long size)
{
	while (size > 0) {
		long written = system_call(__NR_write, fd, (long)from, size, 0);

		MUST("write the container's state", written);
		from += written;
		size -= written;
	}
}

/* In the text a byte of 1 stands for the pid, 2 for the time of its start, 3 for the stdio. */
static void write_state(const char *state)
{
	static char descriptors[3 * MAX_TEXT];
	char digits[24] = "";
	char times[1024];
	const char *values[4] = { 0, digits_of(digits + sizeof(digits) - 1, (unsigned long)child), 0, descriptors };
	const char *from = state;
	long fd = system_call(__NR_openat, state_fd, (long)"state-new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	MUST("write the container's state", fd);
	values[2] = start_time(times, sizeof(times));
	describe_stdio(descriptors, sizeof(descriptors));
	for (const char *c = state;; c++) {
		if ((unsigned char)*c > 3)
			continue;
		write_all(fd, from, c - from);
		if (*c == 0)
			break;
		write_all(fd, values[(int)*c], length(values[(int)*c]));
		from = c + 1;
	}
	system_call(__NR_close, fd, 0, 0, 0);
	MUST("place the container's state",
	     system_call5(__NR_renameat2, state_fd, (long)"state-new", state_fd, (long)"state.json", 0));
}

static void write_pid(const char *path)
{
	char digits[24] = "";
	char *pid = digits_of(digits + sizeof(digits) - 1, (unsigned long)child);
	long fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	MUST("write the pid", fd);
	write_all(fd, pid, length(pid));
	system_call(__NR_close, fd, 0, 0, 0);
}

/* The first process */

static struct sock_filter filter[BPF_MAXINSNS];
static unsigned long filter_length;
static unsigned long filter_flags;

static void install_filter(void)
{
	struct sock_fprog program = { .len = (unsigned short)filter_length, .filter = filter };

	if (filter_length > 0)
		MUST("install the seccomp filter",
		     system_call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, (long)filter_flags, (long)&program, 0));
}

static void join_namespaces(void)
{
	long fds[MAX_NAMESPACES];
	unsigned long types[MAX_NAMESPACES];
	unsigned long count = number();
	unsigned long own;

	if (count > MAX_NAMESPACES)
		MUST("read the namespaces", -E2BIG);
	for (unsigned long i = 0; i < count; i++) {
		types[i] = number();
		fds[i] = system_call(__NR_openat, AT_FDCWD, (long)text(), O_RDONLY | O_CLOEXEC, 0);
		MUST("open a namespace", fds[i]);
	}
	for (unsigned long i = 0; i < count; i++) {
		MUST("join a namespace", system_call(__NR_setns, fds[i], (long)types[i], 0, 0));
		system_call(__NR_close, fds[i], 0, 0, 0);
	}
	own = number();
	MUST("make the namespaces", system_call(__NR_unshare, (long)own, 0, 0, 0));
}

/* A new one, which the container's own processes may search. */
static void join_keyring(const char *name)
{
	char described[256];
	unsigned long permissions = 0;
	char *field = described;
	long keyring = system_call(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, (long)name, 0, 0);
	long size;

	if (keyring == -ENOSYS)
		return;
	MUST("join the session keyring", keyring);
	size = system_call(__NR_keyctl, KEYCTL_DESCRIBE, keyring, (long)described, sizeof(described));
	MUST("read the permissions of the session keyring", size);
	if (size > (long)sizeof(described))
		MUST("read the permissions of the session keyring", -E2BIG);
	for (int i = 0; i < 3; i++) {
		while (*field != ';' && *field != 0)
			field++;
		if (*field == 0)
			MUST("read the permissions of the session keyring", -EINVAL);
		field++;
	}
	for (; *field != ';' && *field != 0; field++)
		permissions = permissions << 4 | (unsigned long)(*field <= '9' ? *field - '0' : *field - 'a' + 10);
	MUST("set the permissions of the session keyring",
	     system_call(__NR_keyctl, KEYCTL_SETPERM, keyring, (long)(permissions | number()), 0));
}

/* What is wrong with the program, as far as it is known before it is to run. */
static long start_error;
static const char *start_step;

static void note_start_error(long error, const char *step)
{
	if (start_error != 0)
		return;
	start_error = error;
	start_step = step;
}

/* The directory that the program begins in; an image need not have it. */
static void make_working_directory(char *path)
{
	struct stat found;
	long made = 0;

	if (system_call(__NR_newfstatat, AT_FDCWD, (long)path, (long)&found, 0) == 0 && (found.st_mode & S_IFMT) == S_IFDIR)
		return;
	for (char *c = path + 1; made == 0 || made == -EEXIST; c++) {
		char was = *c;

		if (was != '/' && was != 0)
			continue;
		*c = 0;
		made = system_call(__NR_mkdirat, AT_FDCWD, (long)path, 0755, 0);
		*c = was;
		if (was == 0)
			break;
	}
	if (made < 0 && made != -EEXIST)
		note_start_error(-made, "directory");
}

static int terminal_socket = -1;

/* Here, while the node's paths are the node's. */
/* Of the pod, whose other containers may have changed it. */
static void set_hostname(const char *name)
{
	if (*name != 0)
		MUST("set the hostname", system_call(__NR_sethostname, (long)name, length(name), 0, 0));
}

static void connect_terminal(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	long size = length(path);

	if (size == 0)
		return;
	if (size >= (long)sizeof(address.sun_path))
		MUST("connect the terminal", -ENAMETOOLONG);
	copy(address.sun_path, path, size + 1);
	terminal_socket = (int)system_call(__NR_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, 0);
	MUST("connect the terminal", terminal_socket);
	MUST("connect the terminal", system_call(__NR_connect, terminal_socket, (long)&address, sizeof(address), 0));
}

static void send_terminal(int fd)
{
	static char name[] = "/dev/ptmx";
	struct {
		unsigned long length;
		int level;
		int type;
		int fd;
		int padding;
	} control = { .length = sizeof(control) - sizeof(int), .level = SOL_SOCKET, .type = SCM_RIGHTS, .fd = fd };
	struct {
		void *base;
		unsigned long length;
	} part = { .base = name, .length = sizeof(name) - 1 };
	struct {
		void *name;
		int name_length;
		void *parts;
		unsigned long part_count;
		void *control;
		unsigned long control_length;
		int flags;
	} message = { .parts = &part, .part_count = 1, .control = &control, .control_length = sizeof(control) };

	MUST("send the terminal", system_call(__NR_sendmsg, terminal_socket, (long)&message, MSG_NOSIGNAL, 0));
}

/* A new one of the container's own file system of terminals: nobody else's ends up in it. */
static void open_terminal(void)
{
	long multiplexer = system_call(__NR_openat, AT_FDCWD, (long)"/dev/pts/ptmx", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	struct file_system system;
	struct stat found;
	int unlocked = 0;
	long terminal, peer, console, mounted;

	MUST("open the terminals", multiplexer);
	MUST("look at the terminals", system_call(__NR_fstatfs, multiplexer, (long)&system, 0, 0));
	MUST("look at the terminals", system_call(__NR_fstat, multiplexer, (long)&found, 0, 0));
	if (system.type != DEVPTS_SUPER_MAGIC || (found.st_mode & S_IFMT) != S_IFCHR || found.st_rdev != 0x502 || found.st_ino != 2)
		MUST("check the terminals", -EPERM);
	system_call(__NR_close, multiplexer, 0, 0, 0);
	terminal = system_call(__NR_openat, AT_FDCWD, (long)"/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC, 0);
	MUST("open a terminal", terminal);
	MUST("unlock a terminal", system_call(__NR_ioctl, terminal, TIOCSPTLCK, (long)&unlocked, 0));
	peer = system_call(__NR_ioctl, terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	MUST("open the other end of a terminal", peer);
	console = system_call(__NR_openat, AT_FDCWD, (long)"/dev/console", O_NOFOLLOW | O_CREAT | O_CLOEXEC, 0666);
	MUST("open /dev/console", console);
	mounted = clone_mount(peer, 0);
	MUST("copy the mount of a terminal", mounted);
	place_mount(mounted, console);
	system_call(__NR_close, mounted, 0, 0, 0);
	system_call(__NR_close, console, 0, 0, 0);
	send_terminal((int)terminal);
	for (int fd = 0; fd <= 2; fd++)
		MUST("open the stdio", system_call(__NR_dup3, peer, fd, 0, 0));
	system_call(__NR_close, terminal, 0, 0, 0);
	system_call(__NR_close, peer, 0, 0, 0);
	system_call(__NR_close, terminal_socket, 0, 0, 0);
	MUST("control a terminal", system_call(__NR_ioctl, 0, TIOCSCTTY, 0, 0));
}

static void set_limits(void)
{
	for (unsigned long count = number(); count > 0; count--) {
		unsigned long resource = number();
		struct rlimit64 limit;

		limit.rlim_cur = number();
		limit.rlim_max = number();
		MUST("set a limit", system_call(__NR_prlimit64, 0, (long)resource, (long)&limit, 0));
	}
}

static unsigned int groups[MAX_GROUPS];
static char directory[MAX_TEXT];

static int may_try_again(long result)
{
	return result == -EACCES || result == -EPERM;
}

/* A directory that root may enter and the user may not, or the other way round, as on a volume of the user's. */
static void become_user(const char *cwd)
{
	struct capabilities wanted;
	unsigned int uid = (unsigned int)number();
	unsigned int gid = (unsigned int)number();
	unsigned long count = number();
	long entered = start_error != 0 ? 0 : system_call(__NR_chdir, (long)cwd, 0, 0, 0);

	if (count > MAX_GROUPS)
		MUST("read the groups", -E2BIG);
	for (unsigned long i = 0; i < count; i++)
		groups[i] = (unsigned int)number();
	wanted.bounding = number();
	wanted.effective = number();
	wanted.permitted = number();
	wanted.inheritable = number();
	wanted.ambient = number();
	limit_capabilities(wanted.bounding);
	MUST("keep capabilities", system_call(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0));
	own_stdio(uid);
	MUST("set the groups", system_call(__NR_setgroups, (long)count, (long)groups, 0, 0));
	MUST("set the group", system_call(__NR_setgid, gid, 0, 0, 0));
	MUST("set the user", system_call(__NR_setuid, uid, 0, 0, 0));
	/* Another user is dumpable again where fs.suid_dumpable says so. */
	MUST("hide the process", system_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0));
	if (may_try_again(entered))
		entered = system_call(__NR_chdir, (long)cwd, 0, 0, 0);
	if (entered < 0)
		note_start_error(-entered, "directory");
	/* The kernel says "(unreachable)" of one that is not in the container. */
	MUST("name the working directory", system_call(__NR_getcwd, (long)directory, sizeof(directory), 0, 0));
	if (directory[0] != '/')
		MUST("stay in the container", -EXDEV);
	MUST("keep capabilities", system_call(__NR_prctl, PR_SET_KEEPCAPS, 0, 0, 0));
	set_capabilities(&wanted);
}

/* Whether the user may execute it; a filter may hide how to ask. */
static long check_program(const char *path)
{
	struct stat found;
	long result = system_call(__NR_newfstatat, AT_FDCWD, (long)path, (long)&found, 0);

	if (result < 0)
		return result;
	if ((found.st_mode & S_IFMT) == S_IFDIR)
		return -EISDIR;
	result = system_call(__NR_faccessat2, AT_FDCWD, (long)path, X_OK, AT_EACCESS);
	if (result == -ENOSYS || result == -EPERM)
		return (found.st_mode & 0111) != 0 ? 0 : -EACCES;
	return result;
}

static char *strings[2 * MAX_STRINGS + 2];

static char **string_list(char **list)
{
	unsigned long count = number();

	if (count >= MAX_STRINGS)
		MUST("read the program's strings", -E2BIG);
	for (unsigned long i = 0; i < count; i++)
		list[i] = text();
	list[count] = 0;
	return list + count + 1;
}

/* To whoever told us to go on: an errno, what was tried, and with what. */
static void report_start(long pipe, long error, const char *step, const char *object)
{
	char message[512];
	char digits[24] = "";
	char *first = digits_of(digits + sizeof(digits) - 1, (unsigned long)error);
	const char *parts[] = { first, " ", step, " ", object };
	long size = 0;

	for (unsigned long i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		long part = length(parts[i]);

		if (part > (long)sizeof(message) - size)
			part = (long)sizeof(message) - size;
		copy(message + size, parts[i], part);
		size += part;
	}
	system_call(__NR_write, pipe, (long)message, size, 0);
	system_call(__NR_exit_group, NOT_STARTED, 0, 0, 0);
}

static void find_and_execute(long pipe, unsigned long filters_now)
{
	unsigned long candidates = number();
	char *program = 0;
	long error = -ENOENT;
	char **environment;

	for (; candidates > 0; candidates--) {
		char *path = text();
		long result;

		if (program != 0)
			continue;
		result = check_program(path);
		if (result == 0)
			program = path;
		else
			error = result;
	}
	environment = string_list(strings);
	string_list(environment);
	if (program == 0)
		report_start(pipe, -error, "find", strings[0]);
	if (filters_now && filter_length > 0) {
		struct sock_fprog filters = { .len = (unsigned short)filter_length, .filter = filter };
		long result = system_call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, (long)filter_flags, (long)&filters, 0);

		if (result < 0)
			report_start(pipe, -result, "filter", strings[0]);
	}
	error = system_call(__NR_execve, (long)program, (long)strings, (long)environment, 0);
	report_start(pipe, -error, "execute", program);
}

/* "init" in place of "create": whoever looks for a creation that was cut off must not find a container. */
static char *argument_start;
static char *argument_end;

static void rename_process(void)
{
	static const char name[] = "init";

	for (char *c = argument_start; c < argument_end; c++)
		*(volatile char *)c = 0;
	if (argument_end - argument_start >= (long)sizeof(name))
		copy(argument_start, name, sizeof(name));
}

static long become_container(long fifo)
{
	struct file_system system;
	unsigned long makes_devices, no_new_privileges, has_terminal;
	char digits[24] = "";
	char *cwd, *fifo_name;
	long processes, descriptors, pipe;
	struct message message;

	join_cgroups();
	reset_affinity();
	connect_terminal(text());
	join_namespaces();
	set_hostname(text());
	MUST("begin a session", system_call(__NR_setsid, 0, 0, 0, 0));
	MUST("become root", system_call(__NR_setuid, 0, 0, 0, 0));
	MUST("become root", system_call(__NR_setgid, 0, 0, 0, 0));
	MUST("become root", system_call(__NR_setgroups, 0, 0, 0, 0));
	join_keyring(text());
	open_root(text());
	populate_root();
	makes_devices = number();
	enter_root();
	if (makes_devices)
		reopen_null();
	processes = system_call(__NR_openat, AT_FDCWD, (long)"/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	MUST("open /proc", processes);
	MUST("look at /proc", system_call(__NR_fstatfs, processes, (long)&system, 0, 0));
	if (system.type != PROC_SUPER_MAGIC)
		MUST("check /proc", -EPERM);
	/* Of this process, whatever is mounted over it later. */
	descriptors = system_call(__NR_openat, processes, (long)"self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	MUST("open /proc/self/fd", descriptors);
	system_call(__NR_close, processes, 0, 0, 0);
	cwd = text();
	make_working_directory(cwd);
	has_terminal = number();
	if (has_terminal)
		open_terminal();
	remount_readonly();
	system_call(__NR_umask, 022, 0, 0, 0);
	protect_paths();
	mask_paths();
	no_new_privileges = number();
	if (no_new_privileges)
		MUST("forbid new privileges", system_call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0));
	set_limits();

	send(READY, 0, "");
	if (system_call(__NR_read, link_end, (long)&message, sizeof(message), 0) != sizeof(message) || message.kind != GO)
		system_call(__NR_exit_group, 1, 0, 0, 0);
	if (!no_new_privileges)
		install_filter(); /* takes a capability that the program may not have */
	become_user(cwd);
	rename_process();
	send(DONE, 0, "");
	system_call(__NR_close, link_end, 0, 0, 0);

	/* Until somebody opens the other end. */
	fifo_name = digits_of(digits + sizeof(digits) - 1, (unsigned long)fifo);
	do
		pipe = system_call(__NR_openat, descriptors, (long)fifo_name, O_WRONLY | O_CLOEXEC, 0);
	while (pipe == -EINTR);
	if (pipe < 0 || system_call(__NR_write, pipe, (long)"0", 1, 0) != 1)
		system_call(__NR_exit_group, NOT_STARTED, 0, 0, 0);
	system_call(__NR_close, fifo, 0, 0, 0);
	system_call(__NR_close, descriptors, 0, 0, 0);
	if (start_error != 0)
		report_start(pipe, start_error, start_step, cwd);
	find_and_execute(pipe, no_new_privileges);
	return 0;
}

static void read_plan(const char *path)
{
	long fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	long size = 0, count;

	MUST("open the plan", fd);
	while ((count = system_call(__NR_read, fd, (long)(plan + size), MAX_PLAN - size, 0)) > 0)
		size += count;
	MUST("read the plan", count);
	system_call(__NR_close, fd, 0, 0, 0);
	system_call(__NR_unlinkat, AT_FDCWD, (long)path, 0, 0);
	plan_end = plan + size;
	filter_length = number();
	filter_flags = number();
	filter_offset = size - (long)(filter_length * sizeof(filter[0]));
	if (filter_length > BPF_MAXINSNS || filter_offset < cursor - plan)
		MUST("read the seccomp filter", -E2BIG);
	copy((char *)filter, plan + filter_offset, size - filter_offset);
	plan_end = plan + filter_offset;
}

/* In that cgroup, which only this way costs no wait for all processes of the node; not where the kernel cannot. */
static long clone_into_cgroup(struct clone_args arguments)
{
	long fd = system_call(__NR_openat, AT_FDCWD, (long)unified_cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	long made;

	MUST("open the cgroup", fd);
	arguments.flags |= CLONE_INTO_CGROUP;
	arguments.cgroup = (unsigned long)fd;
	starts_in_cgroup = 1;
	made = system_call(__NR_clone3, (long)&arguments, sizeof(arguments), 0, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	if (made < 0)
		starts_in_cgroup = 0;
	return made;
}

static void start_child(unsigned long flags)
{
	int pidfd = -1;
	struct clone_args arguments = {
		.flags = CLONE_PARENT | CLONE_PIDFD | flags,
		.pidfd = (unsigned long)&pidfd,
	};

	child = *unified_cgroup == 0 ? -EINVAL : clone_into_cgroup(arguments);
	if (child < 0)
		child = system_call(__NR_clone3, (long)&arguments, sizeof(arguments), 0, 0);
	MUST("start the first process", child);
	if (child > 0)
		child_fd = pidfd;
}

static char wait_for_child(void)
{
	struct message message;

	if (system_call(__NR_read, link_end, (long)&message, sizeof(message), 0) != sizeof(message))
		MUST("wait for the first process", -EPIPE);
	message.step[sizeof(message.step) - 1] = 0;
	if (message.kind == FAILED)
		fail(message.error, message.step);
	return message.kind;
}

__attribute__((used)) void start(long *stack)
{
	char **argv = (char **)(stack + 1);
	int ends[2];
	char *state, *pid_file, *given_processes;
	unsigned long own_processes;
	long fifo;

	if (stack[0] != 4)
		system_call(__NR_exit_group, 2, 0, 0, 0);
	argument_start = argv[1];
	argument_end = argv[3] + length(argv[3]) + 1;
	MUST("hide the process", system_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0));
	system_call(__NR_fcntl, REPORT, F_SETFD, FD_CLOEXEC, 0);
	MUST("close other descriptors", system_call(__NR_close_range, FIRST_FREE, ~0U, 0, 0));
	read_plan(argv[3]);
	MUST("set the OOM score", write_file("/proc/self", "oom_score_adj", text()));
	fifo = make_state_directory();
	state = text();
	pid_file = text();
	make_cgroups();
	MUST("make a link to the first process", system_call(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)ends));
	own_processes = number();
	given_processes = text();
	if (*given_processes != 0) {
		long fd = system_call(__NR_openat, AT_FDCWD, (long)given_processes, O_RDONLY | O_CLOEXEC, 0);

		MUST("open the PID namespace", fd);
		MUST("join the PID namespace", system_call(__NR_setns, fd, CLONE_NEWPID, 0, 0));
		system_call(__NR_close, fd, 0, 0, 0);
	}
	unified_cgroup = text();
	start_child(own_processes ? CLONE_NEWPID : 0);
	if (child == 0) {
		is_child = 1;
		link_end = ends[1];
		system_call(__NR_close, ends[0], 0, 0, 0);
		system_call(__NR_close, REPORT, 0, 0, 0);
		system_call(__NR_close, state_fd, 0, 0, 0);
		/* What is the other's to do. */
		for (unsigned long count = number(); count > 0; count--)
			for (int i = 0; i < 4; i++)
				text();
		become_container(fifo);
	}
	link_end = ends[0];
	system_call(__NR_close, ends[1], 0, 0, 0);
	if (wait_for_child() != READY)
		MUST("wait for the first process", -EPROTO);
	set_cgroup_files(); /* Not before: the container's rules need not allow it to make its devices. */
	write_state(state);
	send(GO, 0, "");
	if (wait_for_child() != DONE)
		MUST("wait for the first process", -EPROTO);
	write_pid(pid_file);
	report(0, "");
	system_call(__NR_exit_group, 0, 0, 0, 0);
}
