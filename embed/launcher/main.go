// Command launcher is the outer part of the one file that users copy. It is linked statically and carries the payload:
// the program with its private C library, runc, crun, the CNI plugins. It unpacks that once to <data>/bin/<digest>/ and
// becomes the program there. README.md in the folder above describes the file's layout.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const defaultData = "/var/lib/crib"

func main() {
	if err := launch(); err != nil {
		fmt.Fprintf(os.Stderr, "crib: %v\n", err)
		os.Exit(1)
	}
}

// launch only returns when the program could not be started.
func launch() error {
	self, err := os.Executable()
	if err != nil {
		return errors.New("/proc is not mounted; crib and the container tools inside need it")
	}
	executable, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open %s: %w", self, err)
	}
	defer executable.Close()
	payload, err := openPayload(executable)
	if err != nil {
		return fmt.Errorf("%s is damaged (%w); copy it again", self, err)
	}

	var failure error
	for i, data := range dataDirectories(os.Geteuid(), os.Getenv) {
		// Another user could have put a program of his own there: only the first one is root's to make.
		if i > 0 && claim(data, os.Geteuid()) != nil {
			continue
		}
		err := launchFrom(data, payload, self)
		if failure == nil {
			failure = err
		}
		if !isUnusable(err) {
			return err
		}
	}
	return failure
}

// launchFrom becomes the program that is unpacked below data, and returns only when that could not be done.
func launchFrom(data string, payload *payload, self string) error {
	place, err := newPlace(data, payload)
	if err != nil {
		return &unusableError{err}
	}
	// A daemon lives for months: before it starts, every byte is compared. Everything else starts in a millisecond.
	serving := len(os.Args) > 1 && os.Args[1] == "serve"
	verify := place.looksIntact
	if serving {
		verify = place.isIntact
	}
	argv := append([]string{"crib"}, os.Args[1:]...)
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	env := append(environment(os.Environ(), place.dir, self), engineSettings(command)...)
	for range 2 {
		if err := place.prepare(verify); err != nil {
			return explain(err, place, self)
		}
		if serving {
			place.tidy()
		}
		err = syscall.Exec(place.program(), argv, env)
		// Another version's launcher may have removed this one between the check and here.
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return explain(&fs.PathError{Op: "execute", Path: place.program(), Err: err}, place, self)
}

// dataDirectories is where the payload may be unpacked, best first. A user who is not root and has no use of root's
// directory, or finds nothing of this version there, has one of his own.
func dataDirectories(uid int, getenv func(string) string) []string {
	if data := getenv("CRIB_DATA"); data != "" {
		return []string{data}
	}
	directories := []string{defaultData}
	if uid == 0 {
		return directories
	}
	if data := getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		directories = append(directories, filepath.Join(data, "crib"))
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		directories = append(directories, filepath.Join(home, ".local/share/crib"))
	}
	name := fmt.Sprintf("crib-%d", uid)
	for _, shared := range []string{getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"} {
		if filepath.IsAbs(shared) {
			directories = append(directories, filepath.Join(shared, name))
		}
	}
	return directories
}

// claim makes a user's own data directory, and refuses one that somebody else made or could change.
func claim(data string, uid int) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(data)
	if err != nil {
		return err
	}
	if !info.IsDir() || int(info.Sys().(*syscall.Stat_t).Uid) != uid || info.Mode().Perm()&0o022 != 0 {
		return &fs.PathError{Op: "use", Path: data, Err: fs.ErrPermission}
	}
	return nil
}

// isUnusable is true for errors that another directory does not have.
func isUnusable(err error) bool {
	var unusable *unusableError
	return errors.As(err, &unusable)
}

// unusableError is what is wrong with a place, and not with the executable.
type unusableError struct{ error }

func (e *unusableError) Unwrap() error { return e.error }

// environment is what the program gets. BUN_* variables would turn it into another program, LD_* variables would load
// the node's libraries beside a C library that they were not made for.
func environment(inherited []string, payload, self string) []string {
	var env []string
	for _, variable := range inherited {
		switch name, _, _ := strings.Cut(variable, "="); {
		case strings.HasPrefix(name, "BUN_"), strings.HasPrefix(name, "LD_"):
		case name == "CRIB_PAYLOAD", name == "CRIB_LAUNCHER":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "CRIB_PAYLOAD="+payload, "CRIB_LAUNCHER="+self)
}

// lasting are commands that may pass much through, or stay.
var lasting = []string{"attach", "cp", "demo", "events", "exec", "image", "logs", "pack", "port-forward", "pull", "run", "stats", "wait"}

// engineSettings are of the JavaScript engine: most commands end long before compiling their code is worth its time (a
// third of the CPU time of `crib ps`, and 10 MB), and the others begin like that. The daemon has the engine as it is.
func engineSettings(command string) []string {
	switch {
	case command == "serve":
		return nil
	case slices.Contains(lasting, command):
		return []string{"BUN_JSC_thresholdForJITAfterWarmUp=20000", "BUN_JSC_thresholdForJITSoon=5000"}
	default:
		return []string{"BUN_JSC_useBaselineJIT=0"}
	}
}

// explain says what to do about an error that the place or the executable has, in one line.
func explain(err error, place *place, self string) error {
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("%s is damaged (%w); copy it again", self, err)
	}
	return &unusableError{advise(err, place)}
}

func advise(err error, place *place) error {
	const elsewhere = "set CRIB_DATA to another directory"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("no space in %s: the parts of crib need %d MB there; free some, or %s", place.bin, place.payload.manifest.size()/1_000_000+1, elsewhere)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s is on a read-only file system; %s", place.bin, elsewhere)
	case errors.Is(err, errNoExec), errors.Is(err, syscall.EACCES) && mountedNoExec(place.bin):
		return fmt.Errorf("%s is on a file system mounted noexec; %s, where programs may run", place.bin, elsewhere)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run crib as root, or %s, which this user can write", err, elsewhere)
	}
	return err
}
