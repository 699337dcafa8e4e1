/*
 * The root file system of a container that `create` makes: its mounts, its devices, what is hidden in it. Every place in it
 * is found by a descriptor that cannot lead out of it, and every file system is there complete before it has a place: no
 * link in an image, and nobody who changes one meanwhile, has a say in where something is mounted.
 */
#define AT_EMPTY_PATH 0x1000
#define AT_RECURSIVE 0x8000
#define AT_REMOVEDIR 0x200
#define MNT_DETACH 2
#define PROC_SUPER_MAGIC 0x9fa0

/* struct statfs of 64-bit Linux, whose header is at odds with others. */
struct file_system {
	long type;
	long rest[14];
};

static int root_directory;

static long open_in_root(const char *path, unsigned long flags, unsigned long resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve };

	return system_call(__NR_openat2, root_directory, (long)path, (long)&how, sizeof(how));
}

/* The directory of that path, with all above it that are missing. */
static long make_directory(char *path)
{
	long found = open_in_root(path, O_PATH | O_DIRECTORY, 0);
	long parent = root_directory;
	char *start = path;

	if (found != -ENOENT)
		return found;
	while (*start == '/')
		start++;
	for (char *slash = start;; slash++) {
		char was = *slash;
		long made = 0;
		long directory;

		if (was != '/' && was != 0)
			continue;
		*slash = 0;
		directory = open_in_root(path, O_PATH | O_DIRECTORY, 0);
		if (directory == -ENOENT) {
			made = system_call(__NR_mkdirat, parent, (long)start, 0755, 0);
			if (made == 0)
				directory = open_in_root(path, O_PATH | O_DIRECTORY, 0);
		}
		*slash = was;
		if (parent != root_directory)
			system_call(__NR_close, parent, 0, 0, 0);
		if (made < 0 || directory < 0 || was == 0)
			return made < 0 ? made : directory;
		parent = directory;
		start = slash + 1;
	}
}

/* Splits off the last part of a path. */
static char *base_of(char *path)
{
	char *base = path;

	for (char *c = path; *c != 0; c++)
		if (*c == '/')
			base = c;
	if (*base != '/')
		return base;
	*base = 0;
	return base + 1;
}

/* An empty file, for another to be mounted over. */
static long make_file(char *path)
{
	static char root[] = "/";
	char *name = base_of(path);
	long directory = make_directory(*path == 0 ? root : path);
	long file;

	if (directory < 0)
		return directory;
	file = system_call(__NR_openat, directory, (long)name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	system_call(__NR_close, directory, 0, 0, 0);
	return file;
}

/* Neither the root itself nor anything of a process file system may be covered. */
static void check_place(long place)
{
	struct stat root, found;
	struct file_system system;

	MUST("look at the root", system_call(__NR_fstat, root_directory, (long)&root, 0, 0));
	MUST("look at a mount point", system_call(__NR_fstat, place, (long)&found, 0, 0));
	MUST("look at a mount point", system_call(__NR_fstatfs, place, (long)&system, 0, 0));
	if ((root.st_dev == found.st_dev && root.st_ino == found.st_ino) || system.type == PROC_SUPER_MAGIC)
		MUST("check a mount point", -EPERM);
}

static void set_propagation(long mounted)
{
	for (unsigned long count = number(); count > 0; count--) {
		unsigned long recursive = number();
		struct mount_attr attributes = { .propagation = number() };

		MUST("set the propagation", system_call5(__NR_mount_setattr, mounted, (long)"",
			AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), (long)&attributes, sizeof(attributes)));
	}
}

static void set_attributes(long mounted, unsigned long recursive)
{
	struct mount_attr attributes = { .attr_set = number() };

	attributes.attr_clr = number();
	if (attributes.attr_set != 0 || attributes.attr_clr != 0)
		MUST("set the attributes of a mount", system_call5(__NR_mount_setattr, mounted, (long)"",
			AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), (long)&attributes, sizeof(attributes)));
}

static void place_mount(long mounted, long place)
{
	MUST("place a mount", system_call5(__NR_move_mount, mounted, (long)"", place, (long)"",
		MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

/* An option as it stands in fstab(5): a name, or a name and a value. */
static long configure(long context, char *option)
{
	for (char *c = option; *c != 0; c++)
		if (*c == '=') {
			*c = 0;
			return system_call5(__NR_fsconfig, context, FSCONFIG_SET_STRING, (long)option, (long)(c + 1), 0);
		}
	return system_call5(__NR_fsconfig, context, FSCONFIG_SET_FLAG, (long)option, 0, 0);
}

static long open_file_system(const char *type, const char *source)
{
	long context = system_call(__NR_fsopen, (long)type, FSOPEN_CLOEXEC, 0, 0);

	MUST("open a file system", context);
	MUST("name a file system", system_call5(__NR_fsconfig, context, FSCONFIG_SET_STRING, (long)"source", (long)source, 0));
	return context;
}

static long make_mount(long context, unsigned long attributes)
{
	long mounted;

	MUST("make a file system", system_call5(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
	mounted = system_call(__NR_fsmount, context, FSMOUNT_CLOEXEC, (long)attributes, 0);
	MUST("make a mount", mounted);
	system_call(__NR_close, context, 0, 0, 0);
	return mounted;
}

static void set_mode(long context, unsigned int mode)
{
	char digits[5] = "";

	for (int i = 3; i >= 0; i--, mode >>= 3)
		digits[i] = (char)('0' + (mode & 7));
	MUST("set the mode of a file system",
	     system_call5(__NR_fsconfig, context, FSCONFIG_SET_STRING, (long)"mode", (long)digits, 0));
}

/* A file system of the kernel's. */
static void mount_new(void)
{
	char *type = text();
	long context = open_file_system(type, text());
	char *target = text();
	unsigned long must_be_plain = number();
	unsigned long attributes = number();
	long place, mounted;

	if (must_be_plain) {
		/* A link in its place could make others read what is none of theirs. */
		place = open_in_root(target, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
		if (place == -ENOENT)
			place = make_directory(target);
		MUST("open a mount point", place);
	} else {
		struct stat found;

		place = open_in_root(target, O_PATH, 0);
		if (place >= 0 && type[0] == 't') { /* tmpfs takes the mode of what it covers, unless it has one of its own */
			MUST("look at a mount point", system_call(__NR_fstat, place, (long)&found, 0, 0));
			set_mode(context, found.st_mode & 07777);
		}
		if (place == -ENOENT)
			place = make_directory(target);
		MUST("open a mount point", place);
		check_place(place);
	}
	for (unsigned long count = number(); count > 0; count--)
		MUST("set an option of a file system", configure(context, text()));
	mounted = make_mount(context, attributes);
	place_mount(mounted, place);
	set_propagation(mounted);
	system_call(__NR_close, mounted, 0, 0, 0);
	system_call(__NR_close, place, 0, 0, 0);
}

/* A file or directory of the node. */
static void mount_existing(void)
{
	char *source = text();
	char *target = text();
	unsigned long recursive = number();
	long mounted = system_call(__NR_open_tree, AT_FDCWD, (long)source,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0), 0);
	long place;

	MUST("open the source of a mount", mounted);
	place = open_in_root(target, O_PATH, 0);
	if (place == -ENOENT) {
		struct stat found;

		MUST("look at the source of a mount", system_call(__NR_fstat, mounted, (long)&found, 0, 0));
		place = (found.st_mode & S_IFMT) == S_IFDIR ? make_directory(target) : make_file(target);
	}
	MUST("open a mount point", place);
	check_place(place);
	place_mount(mounted, place);
	set_propagation(mounted);
	set_attributes(mounted, 0);
	set_attributes(mounted, 1);
	system_call(__NR_close, mounted, 0, 0, 0);
	system_call(__NR_close, place, 0, 0, 0);
}

static void make_node(void)
{
	long directory = make_directory(text());
	char *name = text();
	unsigned long mode = number();
	unsigned long device = number();
	unsigned int uid = (unsigned int)number();
	unsigned int gid = (unsigned int)number();
	struct stat found;
	long made, node;

	MUST("open the directory of a device", directory);
	made = system_call(__NR_mknodat, directory, (long)name, (long)mode, (long)device);
	if (made == -EEXIST) {
		system_call(__NR_close, directory, 0, 0, 0);
		return;
	}
	MUST("make a device", made);
	node = system_call(__NR_openat, directory, (long)name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	MUST("open a device", node);
	MUST("look at a device", system_call(__NR_fstat, node, (long)&found, 0, 0));
	if (found.st_mode != mode || found.st_rdev != device)
		MUST("check a device", -EPERM);
	MUST("give a device to its owner", system_call5(__NR_fchownat, node, (long)"", uid, gid, AT_EMPTY_PATH));
	system_call(__NR_close, node, 0, 0, 0);
	system_call(__NR_close, directory, 0, 0, 0);
}

static void make_link(void)
{
	long directory = make_directory(text());
	char *name = text();
	char *target = text();
	unsigned long replaces = number();
	long made;

	MUST("open the directory of a link", directory);
	if (replaces) {
		made = system_call(__NR_unlinkat, directory, (long)name, 0, 0);
		if (made != -ENOENT)
			MUST("replace a file by a link", made);
	}
	made = system_call(__NR_symlinkat, (long)target, directory, (long)name, 0);
	if (made != -EEXIST || replaces)
		MUST("make a link", made);
	system_call(__NR_close, directory, 0, 0, 0);
}

static void populate_root(void)
{
	long mask = system_call(__NR_umask, 0, 0, 0, 0);

	system_call(__NR_umask, mask, 0, 0, 0);
	for (unsigned long count = number(); count > 0; count--)
		switch (*text()) {
		case 'm':
			mount_new();
			break;
		case 'b':
			mount_existing();
			break;
		case 'n':
			system_call(__NR_umask, 0, 0, 0, 0);
			make_node();
			system_call(__NR_umask, mask, 0, 0, 0);
			break;
		case 'l':
			make_link();
			break;
		default:
			MUST("read the root file system", -EINVAL);
		}
}

/* A private tree of mounts with the container's root in it, as a mount of its own. */
static void open_root(char *path)
{
	unsigned long propagation = number();
	unsigned long parent_propagation = number();
	char *end = path;
	char cut;
	long result;

	MUST("set the propagation of the node's mounts",
	     system_call5(__NR_mount, (long)"", (long)"/", (long)"", (long)propagation, (long)""));
	while (*end != 0)
		end++;
	for (;;) {
		cut = *end;
		*end = 0;
		result = system_call5(__NR_mount, (long)"", (long)(*path == 0 ? "/" : path), (long)"", (long)parent_propagation, (long)"");
		*end = cut;
		if (result != -EINVAL || end == path)
			break;
		do
			end--;
		while (end > path && *end != '/');
	}
	MUST("make the mount that the root is in private", result);
	MUST("mount the root", system_call5(__NR_mount, (long)path, (long)path, (long)"bind", MS_BIND | MS_REC, (long)""));
	root_directory = (int)system_call(__NR_openat, AT_FDCWD, (long)path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	MUST("open the root", root_directory);
}

static void enter_root(void)
{
	long old = system_call(__NR_openat, AT_FDCWD, (long)"/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	unsigned long propagation = number();

	MUST("open the node's root", old);
	MUST("enter the root", system_call(__NR_fchdir, root_directory, 0, 0, 0));
	MUST("change the root", system_call(__NR_pivot_root, (long)".", (long)".", 0, 0));
	MUST("enter the node's root", system_call(__NR_fchdir, old, 0, 0, 0));
	MUST("keep the node's mounts", system_call5(__NR_mount, (long)"", (long)".", (long)"", MS_SLAVE | MS_REC, (long)""));
	MUST("leave the node's mounts", system_call(__NR_umount2, (long)".", MNT_DETACH, 0, 0));
	MUST("enter the root", system_call(__NR_chdir, (long)"/", 0, 0, 0));
	system_call(__NR_close, old, 0, 0, 0);
	system_call(__NR_close, root_directory, 0, 0, 0);
	if (propagation != 0)
		MUST("set the propagation of the root",
		     system_call5(__NR_mount, (long)"", (long)"/", (long)"", (long)propagation, (long)""));
}

/* The container's own, whatever an image has put in its place. */
static long open_null(unsigned long flags)
{
	long null = system_call(__NR_openat, AT_FDCWD, (long)"/dev/null", (long)(flags | O_CLOEXEC), 0);
	struct stat found;

	MUST("open /dev/null", null);
	MUST("look at /dev/null", system_call(__NR_fstat, null, (long)&found, 0, 0));
	if ((found.st_mode & S_IFMT) != S_IFCHR || found.st_rdev != NULL_DEVICE)
		MUST("check /dev/null", -EPERM);
	return null;
}

/* What is the node's /dev/null becomes that of the container. */
static void reopen_null(void)
{
	long null = open_null(O_RDWR);

	for (int fd = 0; fd <= 2; fd++) {
		struct stat found;

		MUST("look at the stdio", system_call(__NR_fstat, fd, (long)&found, 0, 0));
		if ((found.st_mode & S_IFMT) == S_IFCHR && found.st_rdev == NULL_DEVICE)
			MUST("open the stdio", system_call(__NR_dup3, null, fd, 0, 0));
	}
	system_call(__NR_close, null, 0, 0, 0);
}

static void remount_readonly(void)
{
	for (unsigned long count = number(); count > 0; count--) {
		long mounted = system_call(__NR_openat, AT_FDCWD, (long)text(), O_PATH | O_CLOEXEC, 0);

		MUST("open a mount", mounted);
		set_attributes(mounted, 0);
		system_call(__NR_close, mounted, 0, 0, 0);
	}
	if (number())
		MUST("make the root read-only", system_call5(__NR_mount, (long)"", (long)"/", (long)"",
			MS_BIND | MS_REMOUNT | MS_RDONLY, (long)""));
}

static long clone_mount(long place, unsigned long flags)
{
	return system_call(__NR_open_tree, place, (long)"", (long)(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | flags), 0);
}

static void protect_paths(void)
{
	for (unsigned long count = number(); count > 0; count--) {
		struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
		long place = system_call(__NR_openat, AT_FDCWD, (long)text(), O_PATH | O_CLOEXEC, 0);
		long mounted;

		if (place == -ENOENT)
			continue;
		MUST("open a path that is to be read-only", place);
		mounted = clone_mount(place, AT_RECURSIVE);
		MUST("copy the mount of a path that is to be read-only", mounted);
		place_mount(mounted, place);
		MUST("make a path read-only", system_call5(__NR_mount_setattr, mounted, (long)"", AT_EMPTY_PATH,
			(long)&attributes, sizeof(attributes)));
		system_call(__NR_close, mounted, 0, 0, 0);
		system_call(__NR_close, place, 0, 0, 0);
	}
}

/* The node's /dev/null over files, one empty file system over all directories. */
static void mask_paths(void)
{
	unsigned long count = number();
	long null = -1;
	long empty = -1;

	for (; count > 0; count--) {
		long place = system_call(__NR_openat, AT_FDCWD, (long)text(), O_PATH | O_CLOEXEC, 0);
		struct stat found;
		long mounted;

		if (place == -ENOENT)
			continue;
		MUST("open a path that is to be masked", place);
		MUST("look at a path that is to be masked", system_call(__NR_fstat, place, (long)&found, 0, 0));
		if ((found.st_mode & S_IFMT) != S_IFDIR) {
			if (null < 0)
				null = open_null(O_PATH);
			mounted = clone_mount(null, 0);
		} else if (empty < 0) {
			long context = open_file_system("tmpfs", "tmpfs");
			static char blocks[] = "nr_blocks=1", inodes[] = "nr_inodes=1", read_only[] = "ro";

			MUST("limit an empty file system", configure(context, blocks));
			MUST("limit an empty file system", configure(context, inodes));
			MUST("limit an empty file system", configure(context, read_only));
			empty = make_mount(context, MOUNT_ATTR_RDONLY);
			mounted = empty;
		} else {
			mounted = clone_mount(empty, 0);
		}
		MUST("copy a mask", mounted);
		place_mount(mounted, place);
		if (mounted != empty)
			system_call(__NR_close, mounted, 0, 0, 0);
		system_call(__NR_close, place, 0, 0, 0);
	}
	if (null >= 0)
		system_call(__NR_close, null, 0, 0, 0);
	if (empty >= 0)
		system_call(__NR_close, empty, 0, 0, 0);
}
