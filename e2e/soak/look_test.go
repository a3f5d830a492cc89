package soak

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

// get reads a path as a publisher until there is an answer that is none of a
// server on its way up or down.
func (s *soak) get(path string) (reply, error) {
	var r reply
	err := s.settle("GET "+path, func(ctx context.Context) (err error) {
		r, err = s.send(ctx, http.MethodGet, path, "", nil)
		if err == nil && (r.status == http.StatusServiceUnavailable || r.status == http.StatusBadGateway) {
			return r.refusal()
		}
		return err
	})
	return r, err
}

// onlook looks at what is served now: the newest checkpoints of the server and
// of the witnesses, and the bytes of a release.
func (s *soak) onlook(rng *rand.Rand) {
	r, err := s.send(s.ctx, http.MethodGet, "/log/checkpoint", "", nil)
	if err == nil && r.status == http.StatusOK {
		if _, err := s.sight.see(r.body); err != nil {
			s.fault("the server's checkpoint: %v", err)
		}
		s.model.count("looks at a checkpoint", 1)
	}
	if err == nil && r.status == http.StatusServiceUnavailable {
		s.model.count("looks at a checkpoint: none is published", 1)
	}
	if rng.IntN(10) == 0 {
		s.witnessed(s.heads[rng.IntN(len(s.heads))])
	}
	s.model.mu.Lock()
	var e *entry
	if n := len(s.model.entries); n > 0 {
		e = s.model.entries[rng.IntN(n)]
	}
	s.model.mu.Unlock()
	if e == nil || s.ctx.Err() != nil {
		return
	}
	if r, err := s.get("/" + e.project + "/charts/" + e.file()); err == nil && r.status == http.StatusOK && sum(r.body) != e.digest {
		s.fault("%s is %s, and was served as %s", e, e.digest, sum(r.body))
	}
	s.model.count("pulls", 1)
}

// witnessed keeps the newest checkpoint of a witness, when it answers.
func (s *soak) witnessed(url string) (tlog.Checkpoint, bool) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, nil)
	if err != nil {
		panic(err) // the address is ours
	}
	res, err := s.http.Do(req)
	if err != nil {
		return tlog.Checkpoint{}, false
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK {
		return tlog.Checkpoint{}, false
	}
	cp, err := s.sight.see(b.Bytes())
	if err != nil {
		s.fault("the checkpoint of the witness at %s: %v", url, err)
	}
	if before := s.forward(url, cp.Size); cp.Size < before {
		s.fault("the witness at %s had cosigned %d leaves, and has cosigned %d now", url, before, cp.Size)
	}
	s.model.count("looks at a witness", 1)
	return cp, true
}

// forward keeps how far a witness was seen, and returns how far that was
// before. One goroutine at a time looks at witnesses.
func (s *soak) forward(url string, size int64) (before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.cosigned[url]
	s.cosigned[url] = max(before, size)
	return before
}
