// Reads layers with the estargz library of containerd's stargz-snapshotter and prints, as one line of
// JSON for each entry, what a lazily mounted layer would show. Every chunk is verified on its way.
//
// Arguments: pairs of a layer's file and the digest of its table of contents.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
)

type line struct {
	Layer  string            `json:"layer"`
	Name   string            `json:"name"`
	Type   string            `json:"type"`
	Mode   int64             `json:"mode"`
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	Time   int64             `json:"time"`
	Size   int64             `json:"size"`
	Link   string            `json:"link"`
	Xattrs map[string][]byte `json:"xattrs"`
	SHA256 string            `json:"sha256"`
	Chunks int               `json:"chunks"`
}

func main() {
	log.SetFlags(0)
	out := json.NewEncoder(os.Stdout)
	for i := 1; i+1 < len(os.Args); i += 2 {
		if err := layer(os.Args[i], digest.Digest(os.Args[i+1]), out); err != nil {
			log.Fatalf("%s: %v", os.Args[i], err)
		}
	}
}

func layer(path string, toc digest.Digest, out *json.Encoder) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	reader, err := estargz.Open(io.NewSectionReader(file, 0, info.Size()))
	if err != nil {
		return err
	}
	verifiers, err := reader.VerifyTOC(toc)
	if err != nil {
		return err
	}
	root, ok := reader.Lookup("")
	if !ok {
		return fmt.Errorf("there is no root")
	}
	return walk(path, "", root, reader, verifiers, out)
}

func walk(layer, name string, entry *estargz.TOCEntry, reader *estargz.Reader, verifiers estargz.TOCEntryVerifier, out *json.Encoder) error {
	if name != "" {
		told := line{
			Layer: layer, Name: name, Type: entry.Type, Mode: entry.Mode, UID: entry.UID, GID: entry.GID,
			Time: entry.ModTime().Unix(), Size: entry.Size, Link: entry.LinkName, Xattrs: entry.Xattrs,
		}
		if entry.Type == "reg" {
			sum, chunks, err := read(entry, reader, verifiers)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			told.SHA256, told.Chunks = sum, chunks
		}
		if err := out.Encode(told); err != nil {
			return err
		}
	}
	var failed error
	entry.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
		path := base
		if name != "" {
			path = name + "/" + base
		}
		failed = walk(layer, path, child, reader, verifiers, out)
		return failed == nil
	})
	return failed
}

// read gives the digest of a file that was read chunk by chunk, as a snapshotter does.
func read(entry *estargz.TOCEntry, reader *estargz.Reader, verifiers estargz.TOCEntryVerifier) (string, int, error) {
	content, err := reader.OpenFile(entry.Name)
	if err != nil {
		return "", 0, err
	}
	whole := sha256.New()
	chunks := 0
	for at := int64(0); at < entry.Size; chunks++ {
		chunk, ok := reader.ChunkEntryForOffset(entry.Name, at)
		if !ok {
			return "", 0, fmt.Errorf("no chunk holds byte %d", at)
		}
		verifier, err := verifiers.Verifier(chunk)
		if err != nil {
			return "", 0, err
		}
		// In one read: the library inflates a chunk from its beginning for each.
		part := make([]byte, chunk.ChunkSize)
		if _, err := content.ReadAt(part, chunk.ChunkOffset); err != nil && err != io.EOF {
			return "", 0, err
		}
		whole.Write(part)
		if _, err := verifier.Write(part); err != nil {
			return "", 0, err
		}
		if !verifier.Verified() {
			return "", 0, fmt.Errorf("the chunk at %d has another digest", at)
		}
		at = chunk.ChunkOffset + chunk.ChunkSize
	}
	sum := fmt.Sprintf("sha256:%x", whole.Sum(nil))
	if entry.Size > 0 && entry.Digest != sum {
		return "", 0, fmt.Errorf("the file has another digest")
	}
	return sum, chunks, nil
}
