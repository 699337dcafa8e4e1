// Command launcher is the outer part of the one file that users copy. It is linked statically and carries the payload:
// the program with its private C library, runc, crun, the CNI plugins. It unpacks that once to <data>/bin/<digest>/ and
// becomes the program there. README.md in the folder above describes the file's layout.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

	data := os.Getenv("CRIB_DATA")
	if data == "" {
		data = defaultData
	}
	place, err := newPlace(data, payload)
	if err != nil {
		return err
	}
	// A daemon lives for months: before it starts, every byte is compared. Everything else starts in a millisecond.
	serving := len(os.Args) > 1 && os.Args[1] == "serve"
	verify := place.looksIntact
	if serving {
		verify = place.isIntact
	}
	argv := append([]string{"crib"}, os.Args[1:]...)
	env := environment(os.Environ(), place.dir, self)
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

// explain says what to do about an error that the place or the executable has, in one line.
func explain(err error, place *place, self string) error {
	const elsewhere = "set CRIB_DATA to another directory"
	switch {
	case errors.Is(err, errDamaged):
		return fmt.Errorf("%s is damaged (%w); copy it again", self, err)
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
