/*
 * /bin/sh of the test images. Debian's static busybox runs its own applets
 * without looking at the file system, so `sh -c ls` works even when /bin/ls
 * is masked, and a test that a path is masked could not fail. This runs a
 * lone word itself and leaves everything else to busybox.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "-c") == 0 && argv[2][0] != '\0' &&
	    strpbrk(argv[2], " \t\n|&;<>()$`\\\"'*?[]#~=%{}!") == NULL &&
	    access("/bin/busybox", X_OK) == 0) {
		/* Builtins exist in no directory: those go on to busybox below. */
		char *const command[] = { argv[2], NULL };
		execvp(argv[2], command);
		if (errno != ENOENT) {
			fprintf(stderr, "%s: %s: %s\n", argv[0], argv[2], strerror(errno));
			return 126;
		}
	}
	argv[0] = "sh";
	execv("/bin/busybox", argv);
	perror("/bin/busybox");
	return 127;
}
