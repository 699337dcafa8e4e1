/*
 * Lines as entries of the CRI log format, for the monitor (src/os/file/cri-log-library.ts). Nothing here allocates or calls
 * the kernel: it reads one buffer and writes another.
 */
#include <string.h>

enum { header_room = 64, max_content = 16 * 1024 };

struct progress {
	long consumed;
	long produced;
};

/*
 * Writes what input[0, length) has of whole lines, and of full pieces of longer ones, as entries to output until there is
 * no room for the next one. An entry is the header (of `header_length` bytes, in a buffer of `header_room`), "F " or "P ",
 * the content, and a newline. With `is_last` the rest of the input is written too, as a piece.
 *
 * Returns 1 where it stopped for want of room: then it wants to be called again with what is left.
 */
int crib_format_log(const char *input, long length, const char *header, long header_length, char *output, long capacity,
		    int is_last, struct progress *progress)
{
	const char *from = input;
	const char *const end = input + length;
	char *at = output;
	int is_full = 0;

	while (from < end) {
		long left = end - from;
		/* A line of exactly max_content bytes is one entry: its newline may be one byte further. */
		const char *newline = memchr(from, '\n', left > max_content ? max_content + 1 : left);
		long size;
		if (newline)
			size = newline - from;
		else if (left > max_content)
			size = max_content;
		else if (is_last)
			size = left;
		else
			break;
		/* The header is copied with all of its room, which the entry or the end of the buffer takes up. */
		if (output + capacity - at < header_length + 3 + size + header_room) {
			is_full = 1;
			break;
		}
		memcpy(at, header, header_room);
		at += header_length;
		*at++ = newline ? 'F' : 'P';
		*at++ = ' ';
		memcpy(at, from, size);
		at += size;
		*at++ = '\n';
		from += newline ? size + 1 : size;
	}
	progress->consumed = from - input;
	progress->produced = at - output;
	return is_full;
}
