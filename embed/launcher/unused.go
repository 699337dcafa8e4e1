package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// removeUnused removes from bin every version but keep that no process runs from, and what an interrupted launcher left.
// The caller holds the lock. What cannot be removed stays.
func removeUnused(bin, keep, proc string) {
	entries, err := os.ReadDir(bin)
	if err != nil {
		return
	}
	var running map[inode]bool
	for _, entry := range entries {
		path := filepath.Join(bin, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), fillingPrefix):
			os.RemoveAll(path)
		case entry.IsDir() && path != keep:
			if running == nil {
				running = runningFiles(proc)
			}
			if !inUse(path, running) {
				os.RemoveAll(path)
			}
		}
	}
}

// inode names a file whatever it is called by now, and in whichever mount namespace a process sees it.
type inode struct{ device, number uint64 }

func inodeOf(info fs.FileInfo) inode {
	stat := info.Sys().(*syscall.Stat_t)
	return inode{uint64(stat.Dev), stat.Ino}
}

// runningFiles is the executable of every process that can be looked into. Whatever runs from the payload does so under
// its own name: its loader is the interpreter of an executable, never the executable.
func runningFiles(proc string) map[inode]bool {
	running := map[inode]bool{}
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "exe"))
	for _, link := range links {
		if info, err := os.Stat(link); err == nil {
			running[inodeOf(info)] = true
		}
	}
	return running
}

// inUse also asks the kernel, which refuses to open for writing what is being executed: that finds the processes that
// /proc does not show, those of another PID namespace or kept from this user. It is not asked alone, because Linux 6.11
// does not refuse.
func inUse(version string, running map[inode]bool) bool {
	found := false
	filepath.WalkDir(version, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil
		}
		if info, err := entry.Info(); err == nil && running[inodeOf(info)] {
			found = true
			return filepath.SkipAll
		}
		opened, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			opened.Close()
		} else if errors.Is(err, syscall.ETXTBSY) {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found
}
