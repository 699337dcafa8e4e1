package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
)

// looksIntact compares what lstat tells: enough against a file that was removed, cut or written to.
func (p *place) looksIntact() error {
	if text, err := os.ReadFile(filepath.Join(p.dir, manifestName)); err != nil || !bytes.Equal(text, p.payload.manifestText) {
		return fmt.Errorf("%s: no manifest, or another one", p.dir)
	}
	for _, file := range p.payload.manifest.Files {
		path := filepath.Join(p.dir, file.Path)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if file.Link != "" {
			if target, err := os.Readlink(path); err != nil || target != file.Link {
				return fmt.Errorf("%s: not a link to %s", path, file.Link)
			}
			continue
		}
		mode, err := file.mode()
		if err != nil {
			return err
		}
		if info.Mode() != mode || info.Size() != file.Size || !info.ModTime().Equal(unpackedAt) {
			return fmt.Errorf("%s: changed", path)
		}
	}
	return nil
}

// isIntact also compares every byte: against a bad disk, and a change that was covered up. Piece by piece on all
// processors, because a node that comes back waits for it.
func (p *place) isIntact() error {
	if err := p.looksIntact(); err != nil {
		return err
	}
	var pieces []piece
	for _, file := range p.payload.manifest.Files {
		if file.Link != "" {
			continue
		}
		opened, err := p.openPacked(file)
		if err != nil {
			return err
		}
		defer opened.Close()
		for i, sum := range file.Pieces {
			pieces = append(pieces, piece{opened, int64(i) * p.payload.manifest.PieceSize, sum})
		}
	}
	var taken atomic.Int64
	results := make(chan error)
	workers := runtime.NumCPU()
	for range workers {
		go func() {
			for {
				i := taken.Add(1) - 1
				if i >= int64(len(pieces)) {
					results <- nil
					return
				}
				if err := pieces[i].check(p.payload.manifest.PieceSize); err != nil {
					results <- err
					return
				}
			}
		}()
	}
	var failure error
	for range workers {
		if err := <-results; err != nil {
			failure = err
		}
	}
	return failure
}

// piece is a part of an unpacked file, and the digest that it has as packed.
type piece struct {
	file   *packedFile
	offset int64
	sum    string
}

func (p piece) check(size int64) error {
	sum := sha256.New()
	content := io.NewSectionReader(p.file, p.offset, size)
	if _, err := io.CopyBuffer(sum, content, make([]byte, 256<<10)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.sum {
		return fmt.Errorf("%s: wrong digest", p.file.Name())
	}
	return nil
}

// packedFile reads an unpacked file with the placeholders back in place of its patches.
type packedFile struct {
	*os.File
	patches []patch
}

// openPacked refuses a file whose patches are not what they should be.
func (p *place) openPacked(file file) (*packedFile, error) {
	opened, err := os.Open(filepath.Join(p.dir, file.Path))
	if err != nil {
		return nil, err
	}
	for _, patch := range file.Patches {
		found := make([]byte, patch.Length)
		if _, err := opened.ReadAt(found, patch.Offset); err != nil || !bytes.Equal(found, p.patchBytes(patch)) {
			opened.Close()
			return nil, fmt.Errorf("%s: wrong path inside", file.Path)
		}
	}
	return &packedFile{opened, file.Patches}, nil
}

func (f *packedFile) ReadAt(buffer []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(buffer, offset)
	for _, patch := range f.patches {
		end := min(patch.Offset+int64(patch.Length), offset+int64(n))
		for at := max(patch.Offset, offset); at < end; at++ {
			buffer[at-offset] = placeholder
		}
	}
	return n, err
}
