package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// receipt is the answer to a push that was taken.
type receipt struct {
	Digest    string
	Unchanged bool
	Proof     string
}

// door is a way to push. An error is a *problem.Error when the server refused,
// and anything else when it did not answer.
type door struct {
	name string
	push func(s *soak, ctx context.Context, e *entry, archive []byte) (receipt, error)
}

var doors = []door{
	{"classic", (*soak).pushClassic},
	{"oci", (*soak).pushOCI},
	{"api", (*soak).pushAPI},
	{"cli", (*soak).pushCLI},
}

func doorOf(name string) *door {
	for i := range doors {
		if doors[i].name == name {
			return &doors[i]
		}
	}
	return nil
}

// reply is an answer of the server.
type reply struct {
	status int
	head   http.Header
	body   []byte
}

// send makes a request and reads its answer to the end.
func (s *soak) send(ctx context.Context, method, path, contentType string, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.front.URL()+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.SetBasicAuth("anyone", s.tokens.publisher)
	if strings.HasPrefix(path, "/log/") {
		req.SetBasicAuth("anyone", s.tokens.auditor)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, b}, err
}

// take reads the answer to a push, the same at both doors.
func (r reply) take(out *receipt) error {
	if r.status/100 != 2 {
		return r.refusal()
	}
	return json.Unmarshal(r.body, out)
}

// refusal is what the server says in any of its forms. That it cannot answer
// now is none.
func (r reply) refusal() error {
	var doc struct {
		Error, Rule, Message string
		Errors               []struct{ Code, Message string }
	}
	if err := json.Unmarshal(r.body, &doc); err != nil {
		return fmt.Errorf("status %d: %.300s", r.status, r.body)
	}
	for _, e := range doc.Errors {
		doc.Rule, doc.Message = e.Code, e.Message
	}
	kind := problem.Immutable
	switch {
	case r.status == http.StatusServiceUnavailable:
		kind = problem.Unavailable
	case r.status >= 500:
		kind = problem.Internal
	case r.status != http.StatusConflict:
		kind = problem.Invalid
	}
	return problem.New(kind, doc.Rule, "%d: %s %s", r.status, doc.Error+doc.Message, r.body)
}

func (s *soak) pushClassic(ctx context.Context, e *entry, archive []byte) (out receipt, err error) {
	r, err := s.send(ctx, http.MethodPost, "/api/"+e.project+"/charts", "application/gzip", archive)
	if err != nil {
		return out, err
	}
	return out, r.take(&out)
}

func ociConfig(e *entry) []byte {
	b, err := json.Marshal(map[string]string{"apiVersion": "v2", "name": e.chart, "version": e.version})
	if err != nil {
		panic(err)
	}
	return b
}

func (s *soak) pushOCI(ctx context.Context, e *entry, archive []byte) (out receipt, err error) {
	config := ociConfig(e)
	for _, blob := range [][]byte{config, archive} {
		r, err := s.send(ctx, http.MethodPost, "/v2/"+e.repo()+"/blobs/uploads/?digest="+sum(blob), "application/octet-stream", blob)
		if err != nil {
			return out, err
		}
		if r.status != http.StatusCreated {
			return out, r.refusal()
		}
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":%q,"size":%d}]}`,
		sum(config), len(config), sum(archive), len(archive))
	r, err := s.send(ctx, http.MethodPut, "/v2/"+e.repo()+"/manifests/"+tag(e.version), "application/vnd.oci.image.manifest.v1+json", manifest)
	if err != nil {
		return out, err
	}
	return out, r.take(&out)
}

func tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

func (s *soak) pushAPI(ctx context.Context, e *entry, archive []byte) (receipt, error) {
	r, err := s.as(s.tokens.publisher).Push(ctx, e.project, client.Upload{FileName: e.file(), Archive: bytes.NewReader(archive), Size: int64(len(archive))})
	return receipt{r.Digest, r.Unchanged, r.Proof}, err
}

// errKilled is a command that was killed before it had an answer.
var errKilled = errors.New("the command was killed")

// pushCLI pushes with the program itself, which may be killed.
func (s *soak) pushCLI(_ context.Context, e *entry, archive []byte) (out receipt, err error) {
	dir, err := os.MkdirTemp(s.dir, "push-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, e.file()), archive, 0o600); err != nil {
		return out, err
	}
	o := s.command(dir, s.tokens.publisher, "push", e.file(), "--project", e.project, "-o", "json")
	switch {
	case o.killed:
		return out, errKilled
	case o.code == 0:
		return out, json.Unmarshal([]byte(o.out), &out)
	case o.code == 1:
		return out, errors.New(o.errs)
	}
	return out, problem.New(problem.Immutable, "cli", "%s", o)
}

// unanswered says whether nothing is known of what became of a request.
func unanswered(err error) bool {
	p, ok := problem.As(err)
	return !ok || p.Kind == problem.Unavailable
}

// offer pushes until there is an answer. The proof of what was taken has to be
// of these bytes.
func (s *soak) offer(d *door, e *entry, archive []byte) (receipt, error) {
	var r receipt
	err := s.settle("push of "+e.String()+" by "+d.name, func(ctx context.Context) (err error) {
		r, err = d.push(s, ctx, e, archive)
		return err
	})
	if err != nil {
		return r, err
	}
	leaf, err := s.sight.seeProof(r.Proof)
	if err != nil {
		s.fault("push of %s by %s was answered with a proof that is none: %v", e, d.name, err)
		return r, nil
	}
	if l, ok := leaf.(tlog.Release); !ok || l.Archive != sum(archive) || r.Digest != sum(archive) || l.Project+"/"+l.Chart+"@"+l.Version != e.String() {
		s.fault("push of %s (%s) by %s was answered with %s and the proof of %+v", e, sum(archive), d.name, r.Digest, leaf)
	}
	return r, nil
}
