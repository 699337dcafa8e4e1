/* getxattr PATH NAME: prints the value in hex, or why there is none. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
	unsigned char value[65536];

	if (argc != 3)
		return 2;
	ssize_t length = lgetxattr(argv[1], argv[2], value, sizeof value);
	if (length < 0) {
		fprintf(stderr, "%s: %s: %s\n", argv[1], argv[2], strerror(errno));
		return 1;
	}
	for (ssize_t i = 0; i < length; i++)
		printf("%02x", value[i]);
	putchar('\n');
	return 0;
}
