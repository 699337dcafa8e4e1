package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// packed is an executable as the build makes one: something in front, archive, manifest, trailer.
func packed(t *testing.T, contents map[string]string, patches ...patch) []byte {
	t.Helper()
	var archive bytes.Buffer
	compressor, err := zstd.NewWriter(&archive)
	must(t, err)
	packer := tar.NewWriter(compressor)
	written := manifest{Version: "1.2.3", PieceSize: 200}
	for _, path := range slices.Sorted(maps.Keys(contents)) {
		entry := file{Path: path}
		header := &tar.Header{Name: path}
		if target, isLink := strings.CutPrefix(contents[path], "-> "); isLink {
			entry.Link = target
			header.Typeflag, header.Linkname = tar.TypeSymlink, target
		} else {
			sum := sha256.Sum256([]byte(contents[path]))
			entry.Mode, entry.Size, entry.SHA256 = "0555", int64(len(contents[path])), hex.EncodeToString(sum[:])
			for part := range slices.Chunk([]byte(contents[path]), int(written.PieceSize)) {
				sum := sha256.Sum256(part)
				entry.Pieces = append(entry.Pieces, hex.EncodeToString(sum[:]))
			}
			header.Size = entry.Size
			if path == "crib" {
				entry.Patches = patches
			}
		}
		must(t, packer.WriteHeader(header))
		if entry.Link == "" {
			_, err = packer.Write([]byte(contents[path]))
			must(t, err)
		}
		written.Files = append(written.Files, entry)
	}
	must(t, packer.Close())
	must(t, compressor.Close())
	text, err := json.Marshal(written)
	must(t, err)

	executable := append([]byte("ELF image of the launcher"), archive.Bytes()...)
	executable = append(executable, text...)
	executable = binary.LittleEndian.AppendUint64(executable, uint64(archive.Len()))
	executable = binary.LittleEndian.AppendUint64(executable, uint64(len(text)))
	sum := sha256.Sum256(text)
	executable = append(executable, sum[:]...)
	return append(executable, trailerMagic...)
}

func open(t *testing.T, executable []byte) (*payload, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crib")
	must(t, os.WriteFile(path, executable, 0o755))
	opened, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { opened.Close() })
	return openPayload(opened)
}

func placeOf(t *testing.T, data string, executable []byte) *place {
	t.Helper()
	payload, err := open(t, executable)
	must(t, err)
	place, err := newPlace(data, payload)
	must(t, err)
	return place
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	loader = strings.Repeat("x", 255) + "\x00"
	usual  = map[string]string{
		"cni/bridge":  "-> plugins",
		"cni/plugins": "nine in one",
		"crib":        "head " + loader + " tail",
		"lib/libc.so": strings.Repeat("libc ", 10_000),
	}
	loaderPatch = patch{Offset: 5, Length: 255, Path: "lib/ld.so"}
)

func TestUnpacksOnceAndFillsInPaths(t *testing.T) {
	place := placeOf(t, t.TempDir(), packed(t, usual, loaderPatch))
	must(t, place.prepare(place.looksIntact))

	program, err := os.ReadFile(place.program())
	must(t, err)
	want := place.dir + "/lib/ld.so"
	if got := string(program); got != "head "+want+strings.Repeat("\x00", 256-len(want))+" tail" {
		t.Errorf("patched program: %q", got)
	}
	if target, _ := os.Readlink(filepath.Join(place.dir, "cni/bridge")); target != "plugins" {
		t.Errorf("link to %q", target)
	}
	for path, want := range map[string]os.FileMode{place.dir: 0o755, filepath.Join(place.dir, "lib"): 0o755, place.bin: 0o711} {
		if info, _ := os.Stat(path); info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	must(t, place.isIntact())

	before := inodeAt(t, place.program())
	must(t, place.prepare(place.isIntact))
	if inodeAt(t, place.program()) != before {
		t.Error("unpacked a second time")
	}
}

func inodeAt(t *testing.T, path string) inode {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return inodeOf(info)
}

func TestRepairsWhatIsDamaged(t *testing.T) {
	libc := func(p *place) string { return filepath.Join(p.dir, "lib/libc.so") }
	overwrite := func(path, text string) error {
		os.Chmod(path, 0o755)
		return os.WriteFile(path, []byte(text), 0o755)
	}
	looksTheSame := func(path string) error {
		return errors.Join(os.Chmod(path, 0o555), os.Chtimes(path, unpackedAt, unpackedAt))
	}
	for name, test := range map[string]struct {
		damage func(*place) error
		deep   bool
	}{
		"removed":         {damage: func(p *place) error { return os.Remove(libc(p)) }},
		"cut":             {damage: func(p *place) error { return os.Truncate(libc(p), 10) }},
		"mode":            {damage: func(p *place) error { return os.Chmod(libc(p), 0o755) }},
		"written to":      {damage: func(p *place) error { return overwrite(libc(p), strings.Repeat("evil ", 10_000)) }},
		"link":            {damage: func(p *place) error { return os.Remove(filepath.Join(p.dir, "cni/bridge")) }},
		"manifest":        {damage: func(p *place) error { return os.Remove(filepath.Join(p.dir, manifestName)) }},
		"whole directory": {damage: func(p *place) error { return os.RemoveAll(p.dir) }},
		"bytes, times put": {deep: true, damage: func(p *place) error {
			return errors.Join(overwrite(libc(p), strings.Repeat("evil ", 10_000)), looksTheSame(libc(p)))
		}},
		"last byte, times put": {deep: true, damage: func(p *place) error {
			text, err := os.ReadFile(libc(p))
			text[len(text)-1] ^= 1
			return errors.Join(err, overwrite(libc(p), string(text)), looksTheSame(libc(p)))
		}},
		"path inside": {deep: true, damage: func(p *place) error {
			text, err := os.ReadFile(p.program())
			text[7] ^= 1
			return errors.Join(err, overwrite(p.program(), string(text)), looksTheSame(p.program()))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			place := placeOf(t, t.TempDir(), packed(t, usual, loaderPatch))
			must(t, place.prepare(place.looksIntact))
			must(t, test.damage(place))
			verify := place.looksIntact
			if test.deep {
				if err := place.looksIntact(); err != nil {
					t.Fatalf("meant to be seen only by reading: %v", err)
				}
				verify = place.isIntact
			}
			must(t, place.prepare(verify))
			must(t, place.isIntact())
			if left := names(t, place.bin); !slices.Equal(left, []string{lockName, filepath.Base(place.dir)}) {
				t.Errorf("left in the directory: %v", left)
			}
		})
	}
}

func names(t *testing.T, directory string) []string {
	t.Helper()
	entries, err := os.ReadDir(directory)
	must(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestManyAtOnceUnpackOnce(t *testing.T) {
	data, executable := t.TempDir(), packed(t, usual, loaderPatch)
	var group sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		place := placeOf(t, data, executable)
		group.Go(func() { errs[i] = place.prepare(place.looksIntact) })
	}
	group.Wait()
	must(t, errors.Join(errs...))
	if left := names(t, filepath.Join(data, "bin")); len(left) != 2 {
		t.Errorf("left in the directory: %v", left)
	}
}

func TestRemovesOtherVersionsThatNothingRunsFrom(t *testing.T) {
	data := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	content, err := os.ReadFile(sleep)
	must(t, err)
	running := placeOf(t, data, packed(t, map[string]string{"crib": string(content)}))
	unused := placeOf(t, data, packed(t, map[string]string{"crib": "unused"}))
	current := placeOf(t, data, packed(t, map[string]string{"crib": "current"}))

	must(t, running.prepare(running.looksIntact))
	process := exec.Command(running.program(), "1000")
	must(t, process.Start())
	defer process.Process.Kill()
	must(t, unused.prepare(unused.looksIntact))
	must(t, os.Mkdir(filepath.Join(data, "bin", fillingPrefix+"interrupted"), 0o700))
	must(t, current.prepare(current.looksIntact))
	must(t, running.isIntact())
	if !inUse(running.dir, nil) {
		t.Error("not seen to be in use without /proc")
	}
	if _, err := os.Stat(unused.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unused version: %v", err)
	}
	if left := names(t, filepath.Join(data, "bin")); len(left) != 3 {
		t.Errorf("left in the directory: %v", left)
	}
	must(t, process.Process.Kill())
	process.Wait()
	current.tidy()
	if _, err := os.Stat(running.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("version that nothing runs from any more: %v", err)
	}
	must(t, current.isIntact())
}

func TestSaysThatTheExecutableIsDamaged(t *testing.T) {
	whole := packed(t, usual, loaderPatch)
	for name, test := range map[string]struct{ executable []byte }{
		"cut":      {whole[:len(whole)-100]},
		"tiny":     {whole[:10]},
		"manifest": {flipped(whole, len(whole)-trailerSize-20)},
		"sizes":    {flipped(whole, len(whole)-trailerSize+6)},
		"archive":  {flipped(whole, 80)},
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := open(t, test.executable)
			if err == nil {
				var place *place
				place, err = newPlace(t.TempDir(), payload)
				must(t, err)
				err = place.prepare(place.looksIntact)
				if left := names(t, place.bin); len(left) != 1 {
					t.Errorf("left in the directory: %v", left)
				}
			}
			if !errors.Is(err, errDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func flipped(bytes []byte, at int) []byte {
	changed := slices.Clone(bytes)
	changed[at] ^= 0x40
	return changed
}

func TestRefusesPathsThatDoNotFit(t *testing.T) {
	payload, err := open(t, packed(t, usual, loaderPatch))
	must(t, err)
	for _, data := range []string{"/a:b", "/$ORIGIN", "/" + strings.Repeat("long/", 50)} {
		if _, err := newPlace(data, payload); err == nil || !strings.HasPrefix(err.Error(), "CRIB_DATA: ") {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestExplainsWhatTheNodeLacks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounts file systems: needs root")
	}
	for options, want := range map[string]string{
		"size=16k": "no space in ",
		"noexec":   "mounted noexec; set CRIB_DATA",
		"ro":       "on a read-only file system; set CRIB_DATA",
	} {
		t.Run(options, func(t *testing.T) {
			data := t.TempDir()
			flags, size := uintptr(0), ""
			switch options {
			case "noexec":
				flags = syscall.MS_NOEXEC
			case "ro":
				flags = syscall.MS_RDONLY
			default:
				size = options
			}
			must(t, syscall.Mount("tmpfs", data, "tmpfs", flags, size))
			defer syscall.Unmount(data, 0)
			place := placeOf(t, data, packed(t, usual, loaderPatch))
			err := place.prepare(place.looksIntact)
			if err == nil {
				t.Fatal("no error")
			}
			got := explain(err, place, "/usr/bin/crib").Error()
			if !strings.Contains(got, want) || !strings.Contains(got, place.bin) || strings.Contains(got, "\n") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestEnvironmentOfTheProgram(t *testing.T) {
	got := environment([]string{"PATH=/bin", "BUN_BE_BUN=1", "LD_PRELOAD=/x.so", "LDFLAGS=kept", "CRIB_PAYLOAD=old", "CRIB_DATA=/d"}, "/d/bin/0", "/usr/bin/crib")
	want := []string{"PATH=/bin", "LDFLAGS=kept", "CRIB_DATA=/d", "CRIB_PAYLOAD=/d/bin/0", "CRIB_LAUNCHER=/usr/bin/crib"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestEngineSettings(t *testing.T) {
	if got := engineSettings("serve"); got != nil {
		t.Errorf("the daemon has %v", got)
	}
	for _, command := range []string{"ps", "", "--help", "exec"} {
		if got := engineSettings(command); len(got) == 0 || !strings.HasPrefix(got[0], "BUN_JSC_") {
			t.Errorf("%q has %v", command, got)
		}
	}
}

func TestOwnDirectoriesOfUsers(t *testing.T) {
	env := func(variables map[string]string) func(string) string {
		return func(name string) string { return variables[name] }
	}
	home := map[string]string{"HOME": "/home/a", "TMPDIR": "relative"}
	got := dataDirectories(1000, env(home))
	want := []string{defaultData, "/home/a/.local/share/crib", "/tmp/crib-1000", "/var/tmp/crib-1000", "/dev/shm/crib-1000"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := dataDirectories(0, env(home)); !slices.Equal(got, []string{defaultData}) {
		t.Errorf("root has %v", got)
	}
	if got := dataDirectories(1000, env(map[string]string{"CRIB_DATA": "/d", "HOME": "/home/a"})); !slices.Equal(got, []string{"/d"}) {
		t.Errorf("told to use another: %v", got)
	}
}

func TestTakesNoDirectoryThatOthersCouldChange(t *testing.T) {
	parent := t.TempDir()
	mine := filepath.Join(parent, "mine")
	must(t, claim(mine, os.Getuid()))
	must(t, claim(mine, os.Getuid()))
	if claim(mine, os.Getuid()+1) == nil {
		t.Error("took another user's")
	}
	must(t, os.Chmod(mine, 0o777))
	if claim(mine, os.Getuid()) == nil {
		t.Error("took one that everybody can write")
	}
	link := filepath.Join(parent, "link")
	must(t, os.Mkdir(filepath.Join(parent, "target"), 0o700))
	must(t, os.Symlink(filepath.Join(parent, "target"), link))
	if claim(link, os.Getuid()) == nil {
		t.Error("followed a link")
	}
}
