// Judges proofs and notes by golang.org/x/mod, the code behind the Go checksum database.
// Questions come as JSON on standard input, answers go as JSON to standard output, as in packages.py.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Kind    string            `json:"kind"`
	Body    []byte            `json:"body"`
	Index   int64             `json:"index"`
	Size    int64             `json:"size"`
	Root    []byte            `json:"root"`
	Old     int64             `json:"old"`
	OldRoot []byte            `json:"old_root"`
	Proof   [][]byte          `json:"proof"`
	Note    string            `json:"note"`
	Key     string            `json:"key"`
	Tiles   map[string][]byte `json:"tiles"`
}

func main() {
	var questions []question
	check(json.NewDecoder(os.Stdin).Decode(&questions))
	answers := []map[string]bool{}
	for _, each := range questions {
		answer := map[string]bool{}
		if judge := judges[each.Kind]; judge != nil {
			answer["golang.org/x/mod"] = judge(each) == nil
		}
		answers = append(answers, answer)
	}
	check(json.NewEncoder(os.Stdout).Encode(answers))
}

var judges = map[string]func(question) error{
	"inclusion":         inclusion,
	"consistency":       consistency,
	"checkpoint":        checkpoint,
	"inclusion tiles":   inclusionTiles,
	"consistency tiles": consistencyTiles,
}

func inclusion(q question) error {
	return tlog.CheckRecord(hashes(q.Proof), q.Size, hash(q.Root), q.Index, tlog.RecordHash(q.Body))
}

func consistency(q question) error {
	return tlog.CheckTree(hashes(q.Proof), q.Size, hash(q.Root), q.Old, hash(q.OldRoot))
}

func checkpoint(q question) error {
	verifier, err := note.NewVerifier(q.Key)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(q.Note), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	if expected := fmt.Sprintf("%s\n%d\n%s\n", verifier.Name(), q.Size, hash(q.Root)); opened.Text != expected {
		return fmt.Errorf("the text is not that of this tree")
	}
	return nil
}

// The same proof is to come out of the tiles, which the reader checks against the root.
func inclusionTiles(q question) error {
	made, err := tlog.ProveRecord(q.Size, q.Index, reader(q))
	return same(made, hashes(q.Proof), err)
}

func consistencyTiles(q question) error {
	made, err := tlog.ProveTree(q.Size, q.Old, reader(q))
	return same(made, hashes(q.Proof), err)
}

func same(made, proof []tlog.Hash, err error) error {
	if err == nil && len(made)+len(proof) > 0 && !reflect.DeepEqual(made, proof) {
		return fmt.Errorf("another proof comes out of these tiles")
	}
	return err
}

type tiles map[string][]byte

func reader(q question) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: q.Size, Hash: hash(q.Root)}, tiles(q.Tiles))
}

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := [][]byte{}
	for _, tile := range wanted {
		data := t[fmt.Sprintf("%d/%d/%d", tile.L, tile.N, tile.W)]
		if data == nil {
			return nil, fmt.Errorf("there is no tile %s", tile.Path())
		}
		found = append(found, data)
	}
	return found, nil
}

func hash(value []byte) (made tlog.Hash) {
	if len(value) != tlog.HashSize {
		panic("a hash has 32 bytes")
	}
	copy(made[:], value)
	return made
}

func hashes(values [][]byte) []tlog.Hash {
	made := []tlog.Hash{}
	for _, each := range values {
		made = append(made, hash(each))
	}
	return made
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
