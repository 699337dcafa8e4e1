/*
 * watch: tries to get hold of every process that it sees being born, for ever. A process whose program it may not know
 * is about to become one of the container's: it prints that one's user and capabilities, and GOT with what it got.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *path_of(int pid, const char *name)
{
	static char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path;
}

static int is_hidden(int pid)
{
	char target[4096];

	return readlink(path_of(pid, "exe"), target, sizeof target) < 0 && (errno == EACCES || errno == EPERM);
}

static void attack(int pid)
{
	static const char *const names[] = { "exe", "mem", "fd/1", "root", "cwd", "environ", "ns/mnt" };
	char line[256];
	FILE *status;

	if (!is_hidden(pid) || !(status = fopen(path_of(pid, "status"), "r")))
		return;
	printf("seen");
	while (fgets(line, sizeof line, status))
		if (strncmp(line, "CapEff", 6) == 0 || strncmp(line, "CapPrm", 6) == 0 || strncmp(line, "Uid", 3) == 0)
			printf(" %.*s", (int)strcspn(line, "\n"), line);
	fclose(status);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int fd = open(path_of(pid, names[i]), O_RDONLY);

		if (fd < 0)
			continue;
		/* Unless it has become the program in the meantime. */
		if (is_hidden(pid))
			printf(" GOT %s", names[i]);
		close(fd);
	}
	printf("\n");
	fflush(stdout);
}

int main(void)
{
	static char seen[1 << 22];

	for (;;) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;

		while ((entry = readdir(proc))) {
			int pid = atoi(entry->d_name);

			if (pid <= 1 || pid >= (int)sizeof seen || seen[pid])
				continue;
			seen[pid] = 1;
			attack(pid);
		}
		closedir(proc);
	}
}
