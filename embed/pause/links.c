/*
 * links: carries out steps on network interfaces, in the network namespace that it is started in and in one other. The
 * steps are on stdin; src/network/direct/links.ts writes them and says what each means. Static and without a C library,
 * because every pod waits for it; a process of its own, because the kernel's lock on interfaces is held for tens of
 * milliseconds whenever one is removed, and because it changes its network namespace.
 *
 * Exits with 0 after the last step and writes the interfaces that it has looked up to stdout. Else with 1, and two
 * numbers on stdout: how many bytes came before the step, its errno.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>

#include "entry.h"
#include "system-call.h"

#define SIGKILL 9

typedef unsigned char byte;

struct step {
	unsigned short kind, place, slot, tolerated;
	unsigned int size;
};

enum { ENTER, SEND, PATCH, LOOK_UP, WRITE, WAIT_UP, SETTLE, UNLESS_ADDRESS };
enum { HOST, POD };

/* An interface that has been looked up. */
struct link {
	unsigned int index, state;
	byte mac[8];
};

static byte program[1 << 16] __attribute__((aligned(8)));
static byte reply[1 << 16] __attribute__((aligned(8)));
static struct link links[8];
static int namespaces[2] = {-1, -1}, sockets[2] = {-1, -1};
static struct { unsigned int offset, slot, mac; } patches[4];
static unsigned int patch_count;

/* The place of the kernel's file of the host's namespace, which messages name. */
enum { HOST_FD = 40 };

static void leave(int code)
{
	system_call(__NR_exit_group, code, 0, 0, 0);
}

static char *digits(char *end, long value)
{
	do
		*--end = '0' + value % 10;
	while ((value /= 10) > 0);
	return end;
}

static void fail(long before, long result)
{
	char text[48];
	char *end = text + sizeof(text);
	char *at = digits(end, -result);

	*--at = ' ';
	at = digits(at, before);
	system_call(__NR_write, 1, (long)at, end - at, 0);
	leave(1);
}

static int same(const byte *a, const byte *b, long count)
{
	for (long i = 0; i < count; i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

static void copy(byte *to, const byte *from, long count)
{
	/* Without the compiler making a call of memcpy of it. */
	for (volatile long i = 0; i < count; i++)
		to[i] = from[i];
}

static void nap(long milliseconds)
{
	long time[2] = {0, milliseconds * 1000000};

	system_call(__NR_nanosleep, (long)time, 0, 0, 0);
}

static long open_socket(void)
{
	return system_call(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE, 0);
}

static long enter(int place, const char *path)
{
	long result;

	if (namespaces[place] < 0) {
		result = system_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
		if (result < 0)
			return result;
		namespaces[place] = result;
	}
	result = system_call(__NR_setns, namespaces[place], CLONE_NEWNET, 0, 0);
	if (result < 0 || sockets[place] >= 0)
		return result;
	sockets[place] = result = open_socket();
	return result < 0 ? result : 0;
}

/* Sends one message and reads one answer; the error in it, or how long it is. */
static long ask(int place, const byte *message, long size)
{
	const struct nlmsghdr *head = (const struct nlmsghdr *)reply;
	long result = system_call(__NR_write, sockets[place], (long)message, size, 0);

	if (result >= 0)
		result = system_call(__NR_read, sockets[place], (long)reply, sizeof(reply), 0);
	if (result < (long)sizeof(*head))
		return result < 0 ? result : -EPROTO;
	return head->nlmsg_type == NLMSG_ERROR ? ((const struct nlmsgerr *)(head + 1))->error : result;
}

static long look_up(int place, const byte *message, long size, struct link *link)
{
	const struct ifinfomsg *info = (const struct ifinfomsg *)(reply + sizeof(struct nlmsghdr));
	long left = ask(place, message, size);

	if (left <= 0)
		return left < 0 ? left : -EPROTO;
	left -= sizeof(struct nlmsghdr) + sizeof(*info);
	link->index = info->ifi_index;
	for (const struct rtattr *one = (const struct rtattr *)(info + 1); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
		if (one->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(one) == 6)
			copy(link->mac, RTA_DATA(one), 6);
		if (one->rta_type == IFLA_OPERSTATE)
			link->state = *(const byte *)RTA_DATA(one);
	}
	return 0;
}

/* What an interface has of a family: of that very address, of others that are not link-local, of ones not settled. */
static long count_addresses(int place, const struct link *link, const byte *address, unsigned int counts[3])
{
	static struct { struct nlmsghdr head; struct ifaddrmsg body; } request;
	long left;

	request.head.nlmsg_len = sizeof(request);
	request.head.nlmsg_type = RTM_GETADDR;
	request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request.body.ifa_family = address[0];
	left = system_call(__NR_write, sockets[place], (long)&request, sizeof(request), 0);
	counts[0] = counts[1] = counts[2] = 0;
	while (left >= 0) {
		left = system_call(__NR_read, sockets[place], (long)reply, sizeof(reply), 0);
		for (const struct nlmsghdr *one = (const struct nlmsghdr *)reply; NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
			const struct ifaddrmsg *body = NLMSG_DATA(one);
			long size = IFA_PAYLOAD(one);
			const byte *own = 0;

			if (one->nlmsg_type == NLMSG_DONE)
				return 0;
			if (one->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)body)->error;
			if (body->ifa_index != link->index)
				continue;
			if (body->ifa_flags & IFA_F_TENTATIVE)
				counts[2]++;
			for (const struct rtattr *part = IFA_RTA(body); RTA_OK(part, size); part = RTA_NEXT(part, size))
				if (part->rta_type == IFA_LOCAL || (part->rta_type == IFA_ADDRESS && own == 0))
					own = RTA_DATA(part);
			if (own == 0 || body->ifa_family != address[0])
				continue;
			if (body->ifa_prefixlen == address[1] && same(own, address + 4, address[0] == AF_INET ? 4 : 16))
				counts[0]++;
			else if (address[0] == AF_INET || own[0] != 0xfe || (own[1] & 0xc0) != 0x80)
				counts[1]++;
		}
	}
	return left;
}

static long length(const char *text)
{
	long count = 0;

	while (text[count] != '\0')
		count++;
	return count;
}

/* A value that a file has already is not written again. */
static long write_file(const char *path, const char *value)
{
	long fd = system_call(__NR_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0);
	long size = length(value);
	long result;

	if (fd < 0)
		return fd;
	result = system_call(__NR_read, fd, (long)reply, 64, 0);
	if (result < size || !same(reply, (const byte *)value, size) || (result > size && reply[size] != '\n'))
		result = system_call5(__NR_pwrite64, fd, (long)value, size, 0, 0);
	system_call(__NR_close, fd, 0, 0, 0);
	return result;
}

static void patch(byte *payload)
{
	for (unsigned int i = 0; i < patch_count; i++) {
		const struct link *link = &links[patches[i].slot];
		static const byte none[6];

		if (!patches[i].mac)
			copy(payload + patches[i].offset, (const byte *)&link->index, 4);
		else if (!same(link->mac, none, 6)) /* else what the message says stands */
			copy(payload + patches[i].offset, link->mac, 6);
	}
	patch_count = 0;
}

static long carry_out(struct step *step, byte *payload, long *next)
{
	struct link *link = &links[step->slot & 7];
	unsigned int counts[3];
	long result = 0;

	switch (step->kind) {
	case ENTER:
		return enter(step->place, (const char *)payload);
	case SEND:
		patch(payload);
		return ask(step->place, payload, step->size);
	case PATCH:
		if (patch_count == 4)
			return -E2BIG;
		patches[patch_count].offset = *(unsigned int *)payload;
		patches[patch_count].slot = step->slot & 7;
		patches[patch_count++].mac = step->place;
		return 0;
	case LOOK_UP:
		return look_up(step->place, payload, step->size, link);
	case WRITE:
		return write_file((const char *)payload, (const char *)payload + length((const char *)payload) + 1);
	case WAIT_UP:
		for (int tries = 0; tries < 2500; tries++) {
			result = look_up(step->place, payload, step->size, link);
			if (result < 0 || link->state == IF_OPER_UP)
				return result;
			nap(1);
		}
		return -ETIMEDOUT;
	case SETTLE:
		for (int tries = 0; tries < 5000; tries++) {
			result = count_addresses(step->place, link, payload, counts);
			if (result < 0 || counts[2] == 0)
				return result;
			nap(1);
		}
		return -ETIMEDOUT;
	case UNLESS_ADDRESS:
		result = count_addresses(step->place, link, payload, counts);
		if (result == 0 && counts[0] == 0 && counts[1] > 0)
			result = -EADDRINUSE;
		if (counts[0] > 0)
			*next += *(unsigned int *)(payload + 20);
		return result;
	}
	return -EINVAL;
}

__attribute__((used)) void start(long *stack)
{
	long size = 0, more, result;

	(void)stack;
	system_call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	while ((more = system_call(__NR_read, 0, (long)program + size, sizeof(program) - size, 0)) > 0)
		size += more;
	result = more < 0 ? more : enter(HOST, "/proc/self/ns/net");
	if (result == 0)
		result = system_call(__NR_dup3, namespaces[HOST], HOST_FD, O_CLOEXEC, 0);
	if (result < 0)
		fail(0, result);
	for (long at = 0; at + (long)sizeof(struct step) <= size;) {
		struct step *step = (struct step *)(program + at);
		long next = at + sizeof(*step) + ((step->size + 3) & ~3L);

		if (next > size)
			fail(at, -EINVAL);
		result = carry_out(step, (byte *)(step + 1), &next);
		if (result < 0 && step->tolerated != 0xffff && -result != step->tolerated)
			fail(at, result);
		at = next;
	}
	system_call(__NR_write, 1, (long)links, sizeof(links), 0);
	leave(0);
}
