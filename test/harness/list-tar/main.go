// list-tar prints, for each archive named on the command line, what Go's archive/tar finds in it: a line of JSON,
// a list of entries or the text of the error. Names are hexadecimal, since they need not be UTF-8.
package main

import (
	"archive/tar"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
)

type entry struct {
	Name  string `json:"name"`
	Link  string `json:"link"`
	Type  string `json:"type"`
	Size  int64  `json:"size"`
	Mode  int64  `json:"mode"`
	Uid   int    `json:"uid"`
	Gid   int    `json:"gid"`
	Mtime int64  `json:"mtime"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, path := range os.Args[1:] {
		if err := out.Encode(list(path)); err != nil {
			panic(err)
		}
	}
}

func list(path string) any {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	entries := []entry{}
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return entries
		}
		if err == nil {
			_, err = io.Copy(io.Discard, reader)
		}
		if err != nil {
			return err.Error()
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		entries = append(entries, entry{
			Name: hex.EncodeToString([]byte(header.Name)),
			Link: hex.EncodeToString([]byte(header.Linkname)),
			Type: string(header.Typeflag),
			Size: header.Size, Mode: header.Mode & 07777,
			Uid: header.Uid, Gid: header.Gid, Mtime: header.ModTime.Unix(),
		})
	}
}
