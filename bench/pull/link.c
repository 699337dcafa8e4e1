/*
 * link DEVICE BITS-PER-SECOND ONE-WAY-MILLISECONDS
 *
 * A slow and long link out of one TUN device: what is sent through it to an address comes back from that address, later.
 * netem would do the same, where the kernel has it. Says "ready" when the device is there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { slots = 1024, largest = 2048, queue_bytes = 256 << 10 };

struct packet {
	int64_t due;
	int length;
	unsigned char bytes[largest];
};

/* What is under way, in a ring. */
static struct packet packets[slots];
static unsigned first, count;

/* In microseconds. */
static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_device(const char *name)
{
	struct ifreq device = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int tun = open("/dev/net/tun", O_RDWR);

	strncpy(device.ifr_name, name, IFNAMSIZ - 1);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &device) < 0)
		die("/dev/net/tun");
	return tun;
}

static void swap_addresses(unsigned char *ip)
{
	unsigned char source[4];

	memcpy(source, ip + 12, 4);
	memcpy(ip + 12, ip + 16, 4);
	memcpy(ip + 16, source, 4);
}

/* A queue that is full loses packets, as those of routers do. Nothing but IPv4 is carried. */
static void take(int tun, double bits_per_us, int64_t delay)
{
	static int64_t busy_until;
	static struct packet lost;
	struct packet *p = count < slots ? &packets[(first + count) % slots] : &lost;
	int64_t at = now();

	p->length = read(tun, p->bytes, largest);
	if (p->length < 0)
		die("read");
	if (busy_until < at)
		busy_until = at;
	int is_full = (busy_until - at) * bits_per_us / 8 > queue_bytes;
	if (p == &lost || is_full || p->length < 20 || p->bytes[0] >> 4 != 4)
		return;
	swap_addresses(p->bytes);
	busy_until += p->length * 8 / bits_per_us;
	p->due = busy_until + delay;
	count++;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	double bits_per_us = atof(argv[2]) / 1e6;
	int64_t delay = atoi(argv[3]) * 1000LL;
	int tun = open_device(argv[1]);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int64_t wait = count == 0 ? 0 : packets[first % slots].due - now();
		struct timespec timeout = { 0 };
		struct pollfd readable = { .fd = tun, .events = POLLIN };

		if (wait > 0) {
			timeout.tv_sec = wait / 1000000;
			timeout.tv_nsec = wait % 1000000 * 1000;
		}
		if (ppoll(&readable, 1, count == 0 ? NULL : &timeout, NULL) < 0)
			die("poll");
		for (; count > 0 && packets[first % slots].due <= now(); first++, count--) {
			struct packet *p = &packets[first % slots];

			if (write(tun, p->bytes, p->length) < 0)
				perror("write");
		}
		if (readable.revents & POLLIN)
			take(tun, bits_per_us, delay);
	}
}
