package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

var errNoExec = errors.New("mounted noexec")

// unpackedAt is the modification time of every unpacked file: one that was written to later shows without being read.
var unpackedAt = time.Unix(1_000_000_000, 0)

// manifestName is the manifest's copy among the unpacked files.
const manifestName = "manifest.json"

// Names in <data>/bin that are not a version: the lock, and directories that are being filled or removed.
const (
	lockName      = ".lock"
	fillingPrefix = ".new-"
)

// place is where one payload is unpacked: dir = <data>/bin/<digest>. The directory appears there complete or not at
// all, and is only ever replaced as a whole.
type place struct {
	payload *payload
	bin     string
	dir     string
}

// newPlace refuses a data directory whose name cannot stand in an ELF file's search path.
func newPlace(data string, payload *payload) (*place, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, fmt.Errorf("CRIB_DATA: %w", err)
	}
	bin := filepath.Join(data, "bin")
	place := &place{payload: payload, bin: bin, dir: filepath.Join(bin, payload.digest[:16])}
	if strings.ContainsAny(place.dir, ":;$") {
		return nil, fmt.Errorf("CRIB_DATA: a path with one of the characters : ; $ cannot be used: %s", data)
	}
	for _, file := range payload.manifest.Files {
		for _, patch := range file.Patches {
			if excess := len(place.filled(patch)) - patch.Length; excess > 0 {
				return nil, fmt.Errorf("CRIB_DATA: path too long by %d bytes: %s", excess, data)
			}
		}
	}
	return place, nil
}

func (p *place) program() string { return filepath.Join(p.dir, "crib") }

// filled is the text that a patch puts into its file, without the zero bytes after it.
func (p *place) filled(patch patch) string { return filepath.Join(p.dir, patch.Path) }

// prepare makes sure that the directory is there and that verify finds nothing wrong with it. A damaged one is replaced.
func (p *place) prepare(verify func() error) error {
	if verify() == nil {
		return nil
	}
	// The data directory also holds root file systems, which containers in a user namespace must reach.
	if err := os.MkdirAll(filepath.Dir(p.bin), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(p.bin, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Every user may run what is in it, whatever the umask is, and whichever version made it.
	if err := os.Chmod(p.bin, 0o711); err != nil {
		return err
	}
	if mountedNoExec(p.bin) {
		return errNoExec
	}
	unlock, err := p.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	// Another process may have done the work while this one waited.
	if verify() == nil {
		return nil
	}
	removeUnused(p.bin, p.dir, "/proc")
	return p.replace()
}

// tidy removes other versions that nothing runs from any more. What it cannot remove it leaves.
func (p *place) tidy() {
	if unlock, err := p.lock(unix.LOCK_EX | unix.LOCK_NB); err == nil {
		defer unlock()
		removeUnused(p.bin, p.dir, "/proc")
	}
}

func (p *place) lock(how int) (unlock func(), err error) {
	lock, err := os.OpenFile(filepath.Join(p.bin, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), how); err != nil {
		lock.Close()
		return nil, &fs.PathError{Op: "lock", Path: lock.Name(), Err: err}
	}
	return func() { lock.Close() }, nil
}

// replace unpacks to a fresh directory and puts it where the old one was, if any. The caller holds the lock.
func (p *place) replace() error {
	fresh, err := os.MkdirTemp(p.bin, fillingPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := p.unpack(fresh); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	switch err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, p.dir, unix.RENAME_EXCHANGE); err {
	case nil: // The damaged one has the temporary name now.
	case unix.ENOENT, unix.EINVAL, unix.ENOSYS:
		// None there, or a file system that cannot exchange names: then for a moment there is none.
		aside := fresh + "-damaged"
		defer os.RemoveAll(aside)
		if err := os.Rename(p.dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(fresh, p.dir); err != nil {
			return err
		}
	default:
		return &os.LinkError{Op: "exchange", Old: fresh, New: p.dir, Err: err}
	}
	return syncPath(p.bin)
}

// unpack fills the directory with every file of the manifest, each compared with its digest and on the disk for good
// before unpack returns.
func (p *place) unpack(into string) error {
	if _, err := p.payload.archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	decoder, err := zstd.NewReader(p.payload.archive)
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer decoder.Close()
	archive := tar.NewReader(decoder)
	made := map[string]bool{into: true}
	for _, file := range p.payload.manifest.Files {
		header, err := archive.Next()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errDamaged, file.Path, err)
		}
		if header.Name != file.Path || !filepath.IsLocal(file.Path) {
			return fmt.Errorf("%w: %s in place of %s", errDamaged, header.Name, file.Path)
		}
		path := filepath.Join(into, file.Path)
		if parent := filepath.Dir(path); !made[parent] {
			if err := makeOpen(parent); err != nil {
				return err
			}
			made[parent] = true
		}
		if file.Link != "" {
			err = os.Symlink(file.Link, path)
		} else {
			err = p.unpackFile(archive, path, file)
		}
		if err != nil {
			return err
		}
	}
	copied := filepath.Join(into, manifestName)
	if err := errors.Join(os.WriteFile(copied, p.payload.manifestText, 0o444), os.Chmod(copied, 0o444)); err != nil {
		return err
	}
	// All is written out by now or on its way, so that waiting for one file after the other costs little.
	return filepath.WalkDir(into, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() == fs.ModeSymlink {
			return err
		}
		return syncPath(path)
	})
}

// makeOpen makes a directory of the payload, in which everybody finds the programs.
func makeOpen(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func (p *place) unpackFile(content io.Reader, path string, file file) error {
	mode, err := file.mode()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	sum := sha256.New()
	if _, err := io.Copy(out, io.TeeReader(fromArchive{content}, sum)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != file.SHA256 {
		return fmt.Errorf("%w: wrong digest of %s", errDamaged, file.Path)
	}
	for _, patch := range file.Patches {
		if _, err := out.WriteAt(p.patchBytes(patch), patch.Offset); err != nil {
			return err
		}
	}
	if err := out.Chmod(mode); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Chtimes(path, unpackedAt, unpackedAt)
}

// fromArchive marks what goes wrong while reading as the executable's fault, not the disk's.
type fromArchive struct{ io.Reader }

func (r fromArchive) Read(buffer []byte) (int, error) {
	n, err := r.Reader.Read(buffer)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return n, err
}

func (p *place) patchBytes(patch patch) []byte {
	text := make([]byte, patch.Length)
	copy(text, p.filled(patch))
	return text
}

func syncPath(path string) error {
	opened, err := os.Open(path)
	if err != nil {
		return err
	}
	defer opened.Close()
	return opened.Sync()
}

func mountedNoExec(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Flags&unix.ST_NOEXEC != 0
}
