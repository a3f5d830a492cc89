package storetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// RecordStore is the port of small named records that are made only once, as
// package custody declares it.
type RecordStore interface {
	PutRecord(ctx context.Context, name string, data []byte) error
	Record(ctx context.Context, name string, limit int64) ([]byte, error)
	RecordNames(ctx context.Context, folder, after string, limit int) ([]string, error)
	RemoveRecord(ctx context.Context, name string) error
}

// Records is the suite that every store of records passes. place makes a new,
// empty store and returns how to open it, as another process would.
func Records(t *testing.T, place func(t *testing.T) (open func() RecordStore)) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, s, other RecordStore)
	}{
		{"put and read", recordPut},
		{"made only once", recordOnce},
		{"names", recordNames},
		{"list", recordList},
		{"remove", recordRemove},
		{"one of many writers", recordRace},
		{"random operations against a model", recordModel},
	} {
		t.Run(part.name, func(t *testing.T) {
			open := place(t)
			part.test(t, open(), open())
		})
	}
}

func wantKind(t *testing.T, err error, kind problem.Kind) {
	t.Helper()
	if problem.KindOf(err) != kind {
		t.Errorf("got %v, want a problem of kind %s", err, kind)
	}
}

func recordPut(t *testing.T, s, other RecordStore) {
	ctx := t.Context()
	_, err := s.Record(ctx, "a/b", 10)
	wantKind(t, err, problem.NotFound)
	for _, data := range []string{"", "x", strings.Repeat("long ", 50_000)} {
		name := fmt.Sprintf("a/b/%d", len(data))
		if err := s.PutRecord(ctx, name, []byte(data)); err != nil {
			t.Fatal(err)
		}
		got, err := other.Record(ctx, name, int64(len(data)))
		if err != nil || string(got) != data {
			t.Errorf("%d bytes came back as %d, %v", len(data), len(got), err)
		}
	}
	_, err = s.Record(ctx, "a/b/1", 0)
	wantKind(t, err, problem.TooLarge)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.PutRecord(gone, "late", nil); err == nil {
		t.Error("put although the context is done")
	}
	_, err = s.Record(ctx, "late", 10)
	wantKind(t, err, problem.NotFound)
}

func recordOnce(t *testing.T, s, other RecordStore) {
	ctx := t.Context()
	if err := s.PutRecord(ctx, "one", []byte("first")); err != nil {
		t.Fatal(err)
	}
	for _, store := range []RecordStore{s, other} {
		if err := store.PutRecord(ctx, "one", []byte("first")); err != nil {
			t.Errorf("the same bytes again: %v", err)
		}
		for _, data := range []string{"other", "firs", "first!", ""} {
			wantKind(t, store.PutRecord(ctx, "one", []byte(data)), problem.Conflict)
		}
		if got, err := store.Record(ctx, "one", 100); err != nil || string(got) != "first" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func recordNames(t *testing.T, s, _ RecordStore) {
	ctx := t.Context()
	for _, name := range []string{"", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".hidden", "A", "a b", "a\x00", "ä", "a\\b",
		strings.Repeat("x", 81), strings.Repeat("a/", 12) + "a", strings.Repeat(strings.Repeat("x", 60)+"/", 4) + "x"} {
		wantKind(t, s.PutRecord(ctx, name, []byte("x")), problem.Invalid)
		_, err := s.Record(ctx, name, 10)
		wantKind(t, err, problem.Invalid)
		wantKind(t, s.RemoveRecord(ctx, name), problem.Invalid)
		if name != "" {
			_, err = s.RecordNames(ctx, name, "", 10)
			wantKind(t, err, problem.Invalid)
		}
	}
	for _, name := range []string{"a", "0", "a-b.c", strings.Repeat("b/", 11) + "b", strings.Repeat("x", 80)} {
		if err := s.PutRecord(ctx, name, []byte(name)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func list(t *testing.T, s RecordStore, folder, after string, limit int, want ...string) {
	t.Helper()
	got, err := s.RecordNames(t.Context(), folder, after, limit)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("names in %q after %q: %q, %v; want %q", folder, after, got, err, want)
	}
}

func recordList(t *testing.T, s, other RecordStore) {
	list(t, s, "", "", 10)
	list(t, s, "none", "", 10)
	for _, name := range []string{"n/010", "n/002", "n/100", "n/009", "m/1/2", "z"} {
		if err := s.PutRecord(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, store := range []RecordStore{s, other} {
		list(t, store, "", "", 10, "m", "n", "z")
		list(t, store, "n", "", 10, "002", "009", "010", "100")
		list(t, store, "n", "009", 10, "010", "100")
		list(t, store, "n", "0095", 1, "010")
		list(t, store, "n", "", 0)
		list(t, store, "m", "", 10, "1")
	}
}

func recordRemove(t *testing.T, s, other RecordStore) {
	ctx := t.Context()
	for _, name := range []string{"a/1", "a/2"} {
		if err := s.PutRecord(ctx, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := other.RemoveRecord(ctx, "a/1"); err != nil {
			t.Fatal(err)
		}
	}
	list(t, s, "a", "", 10, "2")
	if err := s.PutRecord(ctx, "a/1", []byte("anew")); err != nil {
		t.Errorf("a name that is free again: %v", err)
	}
}

// recordRace lets many writers put other bytes under one name: one wins, and
// its bytes are there.
func recordRace(t *testing.T, s, other RecordStore) {
	ctx := t.Context()
	for round := range 10 {
		name := fmt.Sprintf("race/%d", round)
		var group sync.WaitGroup
		won := make([]bool, 16)
		for i := range won {
			group.Go(func() {
				store := s
				if i%2 == 1 {
					store = other
				}
				err := store.PutRecord(ctx, name, fmt.Append(nil, i))
				won[i] = err == nil
				if err != nil && problem.KindOf(err) != problem.Conflict {
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		group.Wait()
		got, err := s.Record(ctx, name, 10)
		if err != nil {
			t.Fatal(err)
		}
		for i, ok := range won {
			if ok != (string(got) == fmt.Sprint(i)) {
				t.Errorf("round %d holds %q, and writer %d heard success: %v", round, got, i, ok)
			}
		}
	}
}

func recordModel(t *testing.T, s, other RecordStore) {
	ctx := t.Context()
	random := rand.New(rand.NewPCG(5, 6))
	model := map[string][]byte{}
	for step := range 400 {
		store := s
		if random.IntN(2) == 0 {
			store = other
		}
		name := fmt.Sprintf("m/%d/%d", random.IntN(3), random.IntN(6))
		data := fmt.Append(nil, random.IntN(2))
		held, ok := model[name]
		switch random.IntN(4) {
		case 0:
			if err := store.RemoveRecord(ctx, name); err != nil {
				t.Fatal(err)
			}
			delete(model, name)
		case 1:
			got, err := store.Record(ctx, name, 10)
			if ok != (err == nil) || !bytes.Equal(got, held) {
				t.Fatalf("step %d: %s is %q, %v; want %q", step, name, got, err, held)
			}
		default:
			err := store.PutRecord(ctx, name, data)
			if !ok {
				model[name], held = data, data
			}
			if (err == nil) != bytes.Equal(held, data) {
				t.Fatalf("step %d: put %q where %q is: %v", step, data, held, err)
			}
		}
	}
	found := map[string][]byte{}
	folders, err := s.RecordNames(ctx, "m", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		names, err := s.RecordNames(ctx, "m/"+folder, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if found["m/"+folder+"/"+name], err = s.Record(ctx, "m/"+folder+"/"+name, 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(model)), slices.Sorted(maps.Keys(found))); d != "" {
		t.Error(d)
	}
}
