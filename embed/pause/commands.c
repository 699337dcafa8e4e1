/*
 * commands: starts programs for the daemon, which is large and has many threads, so that each start keeps it for a
 * millisecond and more; from here it takes a tenth of that. Requests and results come and go over the socket that it is
 * started with; src/os/process/command-server.ts is the other side. A program is in a session of its own and ends with this
 * one, which ends with the socket. Its output goes to files in memory and is sent when it has ended.
 *
 *   3  the socket
 */
#include <asm/fcntl.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "entry.h"
#include "memory.h"
#include "system-call.h"

#define SIGKILL 9
#define SIGCHLD 17
#define MFD_CLOEXEC 1
#define MFD_NOEXEC_SEAL 8
#define CLD_EXITED 1
/* In place of an exit code, with the errno of what failed. */
#define NOT_STARTED 0x80000000u
#define AT_FDCWD (-100)

enum { SOCKET = 3, FIRST_FREE = 4 };
enum { RUN, KILL };
enum { MAX_JOBS = 32, MAX_STRINGS = 256, MAX_REQUEST = 1 << 18, MAX_OUTPUT = (1 << 20) + 1 };

struct request {
	unsigned int size, kind, id, arguments, variables, stdin_size;
};

struct result {
	unsigned int size, id, exit_code, stdout_size, stderr_size;
};

struct job {
	unsigned int id;
	int pid, pidfd, output, errors;
};

/* struct siginfo of SIGCHLD, as waitid(2) fills it in. */
struct ended {
	int signal, error, code, padding, pid, uid, status;
	int rest[25];
};

/* Room for many that wait, so that one to kill is read. */
static char requests[4 * MAX_REQUEST] __attribute__((aligned(8)));
static long received;
static struct job jobs[MAX_JOBS];
static int job_count;

static void leave(int code)
{
	system_call(__NR_exit_group, code, 0, 0, 0);
}

static void close_file(long fd)
{
	system_call(__NR_close, fd, 0, 0, 0);
}

static void move(char *to, const char *from, long size)
{
	for (volatile long i = 0; to != from && i < size; i++)
		to[i] = from[i];
}

static void write_all(long fd, const char *from, long size)
{
	while (size > 0) {
		long written = system_call(__NR_write, fd, (long)from, size, 0);

		if (written == -EINTR)
			continue;
		if (written <= 0)
			leave(0); /* the daemon has gone */
		from += written;
		size -= written;
	}
}

static long memory_file(void)
{
	long fd = system_call(__NR_memfd_create, (long)"command", MFD_CLOEXEC | MFD_NOEXEC_SEAL, 0, 0);

	/* Before Linux 6.3. */
	return fd == -EINVAL ? system_call(__NR_memfd_create, (long)"command", MFD_CLOEXEC, 0, 0) : fd;
}

/* The next of the texts that each end with a null byte; none where they are cut off. */
static char *next_text(char **at, const char *end)
{
	char *found = *at;

	for (char *c = found; c < end; c++)
		if (*c == 0) {
			*at = c + 1;
			return found;
		}
	return 0;
}

static void send_result(const struct job *job, unsigned int exit_code)
{
	static char bytes[1 << 16];
	struct result result = { .id = job->id, .exit_code = exit_code };
	long files[2] = { job->output, job->errors };
	unsigned int *sizes[2] = { &result.stdout_size, &result.stderr_size };

	for (int i = 0; i < 2; i++) {
		long size = files[i] < 0 ? 0 : system_call(__NR_lseek, files[i], 0, 2, 0);

		*sizes[i] = size < 0 ? 0 : size > MAX_OUTPUT ? MAX_OUTPUT : (unsigned int)size;
	}
	result.size = sizeof(result) + result.stdout_size + result.stderr_size;
	write_all(SOCKET, (char *)&result, sizeof(result));
	for (int i = 0; i < 2; i++)
		for (long at = 0; at < *sizes[i];) {
			long left = *sizes[i] - at;
			long count = system_call(__NR_pread64, files[i], (long)bytes, left < (long)sizeof(bytes) ? left : (long)sizeof(bytes), at);

			if (count <= 0)
				leave(1);
			write_all(SOCKET, bytes, count);
			at += count;
		}
}

static void execute(char **strings, char **environment, const struct job *job, long input)
{
	system_call(__NR_setsid, 0, 0, 0, 0);
	system_call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	if (system_call(__NR_dup3, input, 0, 0, 0) >= 0 && system_call(__NR_dup3, job->output, 1, 0, 0) >= 0 &&
	    system_call(__NR_dup3, job->errors, 2, 0, 0) >= 0 && system_call(__NR_close_range, SOCKET, ~0U, 0, 0) >= 0)
		system_call(__NR_execve, (long)strings[0], (long)strings, (long)environment, 0);
	write_all(2, "cannot be executed", 18);
	leave(126);
}

static void run(const struct request *request)
{
	static char *strings[MAX_STRINGS + 2];
	char *at = (char *)(request + 1);
	const char *end = (const char *)request + request->size;
	struct job job = { .id = request->id, .output = -1, .errors = -1 };
	struct clone_args arguments = { .flags = CLONE_PIDFD, .pidfd = (unsigned long)&job.pidfd, .exit_signal = SIGCHLD };
	char **environment = strings + request->arguments + 1;
	long input;

	if (request->arguments == 0 || request->arguments + request->variables > MAX_STRINGS)
		leave(1);
	for (unsigned int i = 0; i < request->arguments + request->variables; i++) {
		char *text = next_text(&at, end);

		if (text == 0)
			leave(1);
		strings[i < request->arguments ? i : i + 1] = text;
	}
	strings[request->arguments] = 0;
	environment[request->variables] = 0;
	if (end - at < (long)request->stdin_size)
		leave(1);
	if (request->stdin_size > 0) {
		input = memory_file();
		if (input >= 0) {
			write_all(input, at, request->stdin_size);
			system_call(__NR_lseek, input, 0, 0, 0);
		}
	} else
		input = system_call(__NR_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY | O_CLOEXEC, 0);
	job.output = (int)memory_file();
	job.errors = (int)memory_file();
	if (input < 0)
		job.pid = (int)input;
	else if (job.output < 0)
		job.pid = job.output;
	else if (job.errors < 0)
		job.pid = job.errors;
	else
		job.pid = (int)system_call(__NR_clone3, (long)&arguments, sizeof(arguments), 0, 0);
	if (job.pid == 0)
		execute(strings, environment, &job, input);
	if (input >= 0)
		close_file(input);
	if (job.pid > 0) {
		jobs[job_count++] = job;
		return;
	}
	send_result(&job, NOT_STARTED | (unsigned int)-job.pid);
	if (job.output >= 0)
		close_file(job.output);
	if (job.errors >= 0)
		close_file(job.errors);
}

static void kill_job(unsigned int id)
{
	for (int i = 0; i < job_count; i++)
		if (jobs[i].id == id) {
			system_call(__NR_kill, -jobs[i].pid, SIGKILL, 0, 0);
			system_call(__NR_pidfd_send_signal, jobs[i].pidfd, SIGKILL, 0, 0);
		}
}

/* Takes one of the requests that wait, in the first `size` bytes, out of them; returns how many bytes that were. */
static long withdraw(unsigned int id, long size)
{
	long own;

	for (long at = 0; at < size; at += own) {
		const struct request *request = (const struct request *)(requests + at);
		struct job job = { .id = id, .output = -1, .errors = -1 };

		own = request->size;
		if (request->id != id)
			continue;
		move(requests + at, requests + at + own, size - at - own);
		send_result(&job, NOT_STARTED | ECANCELED);
		return own;
	}
	return 0;
}

/* Requests that are whole. Programs that there is no room for wait, in their order; to kill one waits for nothing. */
static void take_requests(void)
{
	long at = 0, waiting = 0;

	while (received - at >= (long)sizeof(struct request)) {
		/* Wherever one begins, the next is aligned: sizes are multiples of eight. */
		struct request *request = (struct request *)(requests + at);
		long size = request->size;

		if (size < (long)sizeof(*request) || size > MAX_REQUEST || size % 8 != 0)
			leave(1);
		if (size > received - at)
			break;
		if (request->kind == KILL) {
			kill_job(request->id);
			waiting -= withdraw(request->id, waiting);
		} else if (waiting > 0 || job_count == MAX_JOBS) {
			move(requests + waiting, requests + at, size);
			waiting += size;
		} else
			run(request);
		at += size;
	}
	move(requests + waiting, requests + at, received - at);
	received -= at - waiting;
}

static void receive(void)
{
	long count = system_call(__NR_read, SOCKET, (long)(requests + received), sizeof(requests) - received, 0);

	if (count == -EINTR)
		return;
	if (count <= 0)
		leave(0);
	received += count;
}

static void finish(int index)
{
	struct job job = jobs[index];
	struct ended ended = { 0 };
	long result = system_call5(__NR_waitid, P_PIDFD, job.pidfd, (long)&ended, WEXITED, 0);

	if (result == -EINTR)
		return;
	jobs[index] = jobs[--job_count];
	send_result(&job, result < 0 ? NOT_STARTED | (unsigned int)-result : (unsigned int)(ended.code == CLD_EXITED ? ended.status : 128 + ended.status));
	close_file(job.pidfd);
	close_file(job.output);
	close_file(job.errors);
}

__attribute__((used)) void start(long *stack)
{
	(void)stack;
	system_call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	system_call(__NR_fcntl, SOCKET, F_SETFD, FD_CLOEXEC, 0);
	system_call(__NR_close_range, FIRST_FREE, ~0U, 0, 0);
	for (;;) {
		struct pollfd files[MAX_JOBS + 1];
		int count = job_count;

		files[0].fd = received < (long)sizeof(requests) ? SOCKET : -1;
		files[0].events = POLLIN;
		for (int i = 0; i < count; i++) {
			files[i + 1].fd = jobs[i].pidfd;
			files[i + 1].events = POLLIN;
		}
		if (system_call5(__NR_ppoll, (long)files, count + 1, 0, 0, 0) <= 0)
			continue;
		if (files[0].revents != 0)
			receive();
		/* From the last one on: whoever takes an ended one's place has been looked at. */
		for (int i = count - 1; i >= 0; i--)
			if (files[i + 1].revents != 0)
				finish(i);
		take_requests();
	}
}
