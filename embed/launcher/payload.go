package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// errDamaged is in the chain of every error that says the executable's own bytes are wrong.
var errDamaged = errors.New("its payload is not what was built")

const (
	trailerMagic = "crib payload v1\n"
	trailerSize  = 8 + 8 + sha256.Size + len(trailerMagic)
)

// payload is what follows the launcher's own ELF image in the file: a tar.zst archive, the manifest, and a trailer with
// the sizes of both, the manifest's SHA-256 and a magic word. The manifest holds the SHA-256 of every file in the
// archive, so its digest names the whole payload.
type payload struct {
	archive      *io.SectionReader
	manifest     manifest
	manifestText []byte
	digest       string
}

type manifest struct {
	Version string            `json:"version"`
	Parts   map[string]string `json:"parts"`
	// PieceSize is how much of a file each of its pieces has, but for the last.
	PieceSize int64  `json:"pieceSize"`
	Files     []file `json:"files"`
}

// file is a regular file, or with Link a symbolic link. Size and SHA256 are of the file as packed: with every patch
// filled with placeholder bytes. Pieces are the SHA-256 of its parts, which can be compared at the same time.
type file struct {
	Path    string   `json:"path"`
	Mode    string   `json:"mode,omitempty"`
	Size    int64    `json:"size,omitempty"`
	SHA256  string   `json:"sha256,omitempty"`
	Link    string   `json:"link,omitempty"`
	Pieces  []string `json:"pieces,omitempty"`
	Patches []patch  `json:"patches,omitempty"`
}

// patch is a place in a file that takes the absolute form of Path, filled up with zero bytes: the name of the loader or
// the directory of the libraries, which an ELF file cannot say relative to itself.
type patch struct {
	Offset int64  `json:"offset"`
	Length int    `json:"length"`
	Path   string `json:"path"`
}

const placeholder = 'x'

// openPayload reads the trailer and the manifest, not the archive.
func openPayload(executable *os.File) (*payload, error) {
	info, err := executable.Stat()
	if err != nil {
		return nil, err
	}
	trailer := make([]byte, trailerSize)
	if _, err := executable.ReadAt(trailer, info.Size()-int64(trailerSize)); err != nil || string(trailer[trailerSize-len(trailerMagic):]) != trailerMagic {
		return nil, fmt.Errorf("%w: it ends early", errDamaged)
	}
	archiveSize := int64(binary.LittleEndian.Uint64(trailer[0:]))
	manifestSize := int64(binary.LittleEndian.Uint64(trailer[8:]))
	manifestAt := info.Size() - int64(trailerSize) - manifestSize
	archiveAt := manifestAt - archiveSize
	if archiveSize < 0 || manifestSize < 0 || archiveAt < 0 || archiveAt > manifestAt {
		return nil, fmt.Errorf("%w: sizes do not fit", errDamaged)
	}
	text := make([]byte, manifestSize)
	if _, err := executable.ReadAt(text, manifestAt); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	sum := sha256.Sum256(text)
	if !bytes.Equal(sum[:], trailer[16:16+sha256.Size]) {
		return nil, fmt.Errorf("%w: wrong digest of the manifest", errDamaged)
	}
	opened := &payload{
		archive:      io.NewSectionReader(executable, archiveAt, archiveSize),
		manifestText: text,
		digest:       hex.EncodeToString(sum[:]),
	}
	if err := json.Unmarshal(text, &opened.manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return opened, nil
}

// size is what the unpacked files take.
func (m manifest) size() int64 {
	var total int64
	for _, file := range m.Files {
		total += file.Size
	}
	return total
}

func (f file) mode() (os.FileMode, error) {
	mode, err := strconv.ParseUint(f.Mode, 8, 9)
	if err != nil {
		return 0, fmt.Errorf("%w: mode of %s", errDamaged, f.Path)
	}
	return os.FileMode(mode), nil
}
