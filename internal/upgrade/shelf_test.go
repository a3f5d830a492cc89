package upgrade

import (
	"errors"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/manifest"
)

// What comes off the shelf is what was put there, for every version of a real
// chart.
func TestShelf(t *testing.T) {
	root := charttest.Corpus(t, "charts/airflow-helm")
	base := manifest.NewBase(charttest.ReadFile(t, filepath.Join(root, "airflow-8.7.0.tgz")), manifest.Options{})
	var s shelf
	now := time.Unix(1_900_000_000, 0)
	size := 0
	for _, version := range []string{"8.7.1", "8.8.0", "8.9.0"} {
		p, _, err := compared(base, charttest.ReadFile(t, filepath.Join(root, "airflow-"+version+".tgz")), manifest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.put(version, p, nil, now); err != nil {
			t.Fatal(err)
		}
		got, err := s.get(version, now.Add(100*retry))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: %+v, %v\nwant %+v", version, got, err, p)
		}
		kept := s.pairs[version]
		size += kept.size()
	}
	if s.bytes != size || size > 3*(2<<10) {
		t.Errorf("%d bytes are counted, %d kept", s.bytes, size)
	}
	failed := errors.New("no")
	if err := s.put("8.9.0", nil, failed, now); err != nil || s.bytes >= size {
		t.Errorf("%d bytes beside %d, %v", s.bytes, size, err)
	}
	if _, err := s.get("8.9.0", now.Add(retry-1)); !errors.Is(err, failed) {
		t.Errorf("a failure is forgotten: %v", err)
	}
	for _, key := range []string{"8.9.0", "other"} {
		if p, err := s.get(key, now.Add(retry)); p != nil || err != nil {
			t.Errorf("%s is there: %v, %v", key, p, err)
		}
	}
}

// The shelf has a bound, and what is dropped is not all at once: a round that is
// larger finds most of what it asks for.
func TestShelfBound(t *testing.T) {
	var s shelf
	now := time.Unix(1_900_000_000, 0)
	s.bytes = maxShelf - 100*eachEntry // as if others were there
	for i := range 200 {
		if err := s.put(strconv.Itoa(i), nil, errors.New("no"), now); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.pairs) != 100 || s.bytes > maxShelf {
		t.Errorf("%d are kept, %d bytes", len(s.pairs), s.bytes)
	}
	if _, err := s.get("199", now); err == nil {
		t.Error("what was put last is not there")
	}
}
