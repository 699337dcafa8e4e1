/*
 * enter NUMBERS STRING...: runs a program in a running container, as `runc exec` does, in one millisecond. It joins the
 * container's cgroups and namespaces, becomes the program's user, and only then starts a child, which becomes the program:
 * whoever sees the child from inside finds nothing in it that the program will not have. The child is its parent's own.
 *
 * Nobody's but its caller's: src/runtime/oci/direct/ writes the arguments, in the order in which they are read here, and the
 * environment is the program's. Nothing is loaded, nothing is allocated, and the file that it is started from is a sealed
 * copy in memory, so that a program called /proc/self/exe finds nothing of the node.
 *
 *   0 1 2  the program's
 *   3      where it tells the child's pid and, if it fails, an errno and the step; four-byte integers and text
 *   4      pidfd of the container's first process
 *   5      the program of the seccomp filter, where there is one
 */
#include <asm/fcntl.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/stat.h>

#include "entry.h"
#include "system-call.h"

#define AT_FDCWD (-100)
#define AT_EACCESS 0x200
#define X_OK 1
#define PATH_MAX 4096

enum { STATUS = 3, INIT = 4, FILTER = 5, FIRST_FREE = 6 };
enum { MAX_GROUPS = 1024, MAX_NAMESPACES = 8 };
enum { FEWEST_ARGUMENTS = 7 };

static const char *numbers;
static char **strings;

static unsigned int groups[MAX_GROUPS];
static struct sock_filter filter[BPF_MAXINSNS];
static char directory[PATH_MAX];

static unsigned long number(void)
{
	unsigned long value = 0;

	/* What is no number must not be read as root's, nor may what follows. */
	if (*numbers < '0' || *numbers > '9')
		system_call(__NR_exit_group, 2, 0, 0, 0);
	while (*numbers >= '0' && *numbers <= '9')
		value = value * 10 + (unsigned long)(*numbers++ - '0');
	if (*numbers == ' ')
		numbers++;
	return value;
}

static void tell(int value)
{
	system_call(__NR_write, STATUS, (long)&value, sizeof(value), 0);
}

static void fail(long error, const char *step, long size)
{
	tell((int)error);
	system_call(__NR_write, STATUS, (long)step, size, 0);
	system_call(__NR_exit_group, 1, 0, 0, 0);
}

static int is_child;

/* Ends with the step's name unless the result of its system call is good. */
#define MUST(step, result)                                                 \
	do {                                                               \
		long must = (result);                                      \
		if (must < 0) {                                            \
			if (!is_child)                                     \
				tell(0);                                   \
			fail(-must, step, sizeof(step) - 1);               \
		}                                                          \
	} while (0)

#include "process.h"

static long write_text(const char *path, const char *text)
{
	long size = 0;
	long fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_WRONLY | O_CLOEXEC, 0);
	long written;

	if (fd < 0)
		return fd;
	while (text[size] != 0)
		size++;
	written = system_call(__NR_write, fd, (long)text, size, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return written;
}

/* Before namespaces are joined: the paths are the node's. */
static void join_cgroups(void)
{
	for (unsigned long count = number(); count > 0; count--)
		MUST("join the cgroup", write_text(*strings++, "0"));
}

/* Here, since it takes the node's capabilities to raise a limit. */
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

/*
 * Those that the container was given by a path, then those that it has with its first process, then the user namespace,
 * which takes the capabilities away that the others need.
 */
static void join_namespaces(void)
{
	long fds[MAX_NAMESPACES];
	unsigned long types[MAX_NAMESPACES];
	unsigned long own = number();
	unsigned long count = number();

	if (count > MAX_NAMESPACES)
		MUST("read the namespaces", -E2BIG);
	for (unsigned long i = 0; i < count; i++) {
		types[i] = number();
		fds[i] = system_call(__NR_openat, AT_FDCWD, (long)*strings++, O_RDONLY | O_CLOEXEC, 0);
		MUST("open a namespace", fds[i]);
	}
	for (unsigned long i = 0; i < count; i++)
		if (types[i] != CLONE_NEWUSER)
			MUST("join a namespace", system_call(__NR_setns, fds[i], (long)types[i], 0, 0));
	MUST("join the namespaces", system_call(__NR_setns, INIT, (long)own, 0, 0));
	for (unsigned long i = 0; i < count; i++) {
		if (types[i] == CLONE_NEWUSER)
			MUST("join the user namespace", system_call(__NR_setns, fds[i], CLONE_NEWUSER, 0, 0));
		system_call(__NR_close, fds[i], 0, 0, 0);
	}
	system_call(__NR_close, INIT, 0, 0, 0);
	MUST("become root", system_call(__NR_setresuid, 0, 0, 0, 0));
	MUST("become root", system_call(__NR_setresgid, 0, 0, 0, 0));
	MUST("become root", system_call(__NR_setgroups, 0, 0, 0, 0));
}

/* The one that the container's other programs have. */
static void join_keyring(const char *name)
{
	long result = system_call(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, (long)name, 0, 0);

	if (result != -ENOSYS)
		MUST("join the session keyring", result);
}

static unsigned long filter_length;
static unsigned long filter_flags;

static void read_filter(void)
{
	long size;

	filter_length = number();
	filter_flags = number();
	if (filter_length == 0)
		return;
	if (filter_length > BPF_MAXINSNS)
		MUST("read the seccomp filter", -E2BIG);
	size = (long)(filter_length * sizeof(filter[0]));
	if (system_call(__NR_pread64, FILTER, (long)filter, size, 0) != size)
		MUST("read the seccomp filter", -EIO);
	system_call(__NR_close, FILTER, 0, 0, 0);
}

static void install_filter(void)
{
	struct sock_fprog program = { .len = (unsigned short)filter_length, .filter = filter };

	if (filter_length > 0)
		MUST("install the seccomp filter",
		     system_call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, (long)filter_flags, (long)&program, 0));
}

/* A directory that root may enter and the user may not, or the other way round, as on a volume of the user's. */
static void become_user(const char *cwd)
{
	unsigned int uid = (unsigned int)number();
	unsigned int gid = (unsigned int)number();
	unsigned long count = number();
	long entered = system_call(__NR_chdir, (long)cwd, 0, 0, 0);
	struct capabilities wanted;

	if (count > MAX_GROUPS)
		MUST("read the groups", -E2BIG);
	for (unsigned long i = 0; i < count; i++)
		groups[i] = (unsigned int)number();
	if (entered != -EACCES && entered != -EPERM)
		MUST("enter the working directory", entered);
	wanted.bounding = number();
	limit_capabilities(wanted.bounding);
	MUST("keep capabilities", system_call(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0));
	own_stdio(uid);
	MUST("set the groups", system_call(__NR_setgroups, (long)count, (long)groups, 0, 0));
	MUST("set the group", system_call(__NR_setgid, gid, 0, 0, 0));
	MUST("set the user", system_call(__NR_setuid, uid, 0, 0, 0));
	/* Another user is dumpable again where fs.suid_dumpable says so. */
	MUST("hide the process", system_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0));
	if (entered < 0)
		MUST("enter the working directory", system_call(__NR_chdir, (long)cwd, 0, 0, 0));
	/* The kernel says "(unreachable)" of one that is not in the container. */
	MUST("name the working directory", system_call(__NR_getcwd, (long)directory, sizeof(directory), 0, 0));
	if (directory[0] != '/')
		MUST("stay in the container", -EXDEV);
	MUST("keep capabilities", system_call(__NR_prctl, PR_SET_KEEPCAPS, 0, 0, 0));
	wanted.effective = number();
	wanted.permitted = number();
	wanted.inheritable = number();
	wanted.ambient = number();
	set_capabilities(&wanted);
}

/* The first of some paths that the user may execute. */
static char *find_program(unsigned long count)
{
	char *program = 0;

	for (unsigned long i = 0; i < count; i++) {
		char *path = *strings++;
		struct stat found;

		if (program != 0 || system_call(__NR_newfstatat, AT_FDCWD, (long)path, (long)&found, 0) < 0 ||
		    (found.st_mode & S_IFMT) == S_IFDIR ||
		    system_call(__NR_faccessat2, AT_FDCWD, (long)path, X_OK, AT_EACCESS) < 0)
			continue;
		program = path;
	}
	if (program == 0)
		MUST("find the program", -ENOENT);
	return program;
}

__attribute__((used)) void start(long *stack)
{
	long argc = stack[0];
	char **environment = (char **)(stack + 1) + argc + 1;
	int told[2];
	int done[2];
	int signal = 0;
	char *program;
	const char *cwd;
	unsigned long no_new_privileges;
	long child;

	if (argc < FEWEST_ARGUMENTS)
		system_call(__NR_exit_group, 2, 0, 0, 0);
	numbers = (char *)stack[2];
	strings = (char **)(stack + 3);

	MUST("hide the process", system_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0));
	for (int fd = STATUS; fd < FIRST_FREE; fd++)
		system_call(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC, 0);
	MUST("close other descriptors", system_call(__NR_close_range, FIRST_FREE, ~0U, 0, 0));
	MUST("set the OOM score", write_text("/proc/self/oom_score_adj", *strings++));
	join_cgroups();
	reset_affinity();
	set_limits();
	read_filter();
	join_namespaces();
	join_keyring(*strings++);
	no_new_privileges = number();
	if (no_new_privileges)
		MUST("forbid new privileges", system_call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0));
	else
		install_filter(); /* takes a capability that the program may not have */
	cwd = *strings++;
	become_user(cwd);
	program = find_program(number());

	MUST("make a pipe", system_call(__NR_pipe2, (long)told, O_CLOEXEC, 0, 0));
	MUST("make a pipe", system_call(__NR_pipe2, (long)done, O_CLOEXEC, 0, 0));
	child = system_call5(__NR_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		is_child = 1;
		/* Not before our caller knows whom to kill. */
		system_call(__NR_close, told[1], 0, 0, 0);
		if (system_call(__NR_read, told[0], (long)&signal, sizeof(signal), 0) != sizeof(signal))
			system_call(__NR_exit_group, 1, 0, 0, 0);
		MUST("begin a session", system_call(__NR_setsid, 0, 0, 0, 0));
		if (no_new_privileges)
			install_filter();
		MUST("execute the program", system_call(__NR_execve, (long)program, (long)strings, (long)environment, 0));
	}
	MUST("start the child", child);
	tell((int)child);
	system_call(__NR_write, told[1], (long)&signal, sizeof(signal), 0);
	/* Until the child has become the program, or has ended. */
	system_call(__NR_close, done[1], 0, 0, 0);
	system_call(__NR_read, done[0], (long)&signal, sizeof(signal), 0);
	system_call(__NR_exit_group, 0, 0, 0, 0);
}
