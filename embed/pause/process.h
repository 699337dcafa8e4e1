/*
 * What a process does on its way to being a container's, for `enter` and `create`. Who includes this has defined MUST, which
 * does not return when a step has failed.
 */
#define SIGCHLD 17
#define NULL_DEVICE 0x103

struct capabilities {
	unsigned long bounding;
	unsigned long effective;
	unsigned long permitted;
	unsigned long inheritable;
	unsigned long ambient;
};

static unsigned char all_cpus[1024];

/* All CPUs that the cgroup allows, whatever the caller is confined to. */
static void reset_affinity(void)
{
	for (unsigned long i = 0; i < sizeof(all_cpus); i++)
		all_cpus[i] = 0xff;
	system_call(__NR_sched_setaffinity, 0, sizeof(all_cpus), (long)all_cpus, 0);
}

static void limit_capabilities(unsigned long bounding)
{
	for (unsigned long capability = 0; capability < 64; capability++) {
		long result;

		if (bounding >> capability & 1)
			continue;
		result = system_call(__NR_prctl, PR_CAPBSET_DROP, (long)capability, 0, 0);
		if (result == -EINVAL)
			return; /* the kernel has no more */
		MUST("limit the capabilities", result);
	}
}

/* The program may open its stdio again, by a name of it. Not where the owner has no id in the user namespace. */
static void own_stdio(unsigned int uid)
{
	for (int fd = 0; fd <= 2; fd++) {
		struct stat found;
		long result;

		MUST("look at the stdio", system_call(__NR_fstat, fd, (long)&found, 0, 0));
		if (found.st_uid == uid || ((found.st_mode & S_IFMT) == S_IFCHR && found.st_rdev == NULL_DEVICE))
			continue;
		result = system_call(__NR_fchown, fd, uid, -1, 0);
		if (result != -EPERM && result != -EROFS)
			MUST("give the stdio to the user", result);
	}
}

static void set_capabilities(const struct capabilities *wanted)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = (unsigned int)(wanted->effective >> 32 * i);
		data[i].permitted = (unsigned int)(wanted->permitted >> 32 * i);
		data[i].inheritable = (unsigned int)(wanted->inheritable >> 32 * i);
	}
	MUST("set the capabilities", system_call(__NR_capset, (long)&header, (long)data, 0, 0));
	MUST("set the capabilities", system_call5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	for (long capability = 0; capability < 64; capability++)
		if (wanted->ambient >> capability & 1)
			system_call5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
}
