package witness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Config is what a Witness is made of.
type Config struct {
	Folder string // made by Init
	Logs   []tlog.PolicyLog
	// Audit makes the witness audit: it reads the entries of every log that
	// has a URL. Its key was made by Init.
	Audit bool
	// Entries reads the first width entries of a bundle of a log at its URL.
	// Its errors are shown to whoever asked for an audit statement. Nil
	// without Audit.
	Entries func(ctx context.Context, url string, n int64, width int) ([][]byte, error)
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil is none
}

// Witness answers requests to cosign. It is an http.Handler for both prefixes,
// submission and monitoring:
//
//	POST /add-checkpoint                GET /<origin hash>/checkpoint
//	POST /audit/add-checkpoint          GET /audit/<origin hash>/checkpoint
//	GET  /                              the keys, for people
type Witness struct {
	folder *folder
	mux    *http.ServeMux
	keys   []*cosigner
	audit  *auditor // nil without it
	log    *slog.Logger
}

// Limits of a request. A body comes within readTimeout.
const readTimeout = 20 * time.Second

// Open opens a witness's folder. Every log must have its state: see
// Init. Close ends it.
func Open(cfg Config) (_ *Witness, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &Witness{mux: http.NewServeMux(), log: cfg.Log}
	if w.folder, err = openFolder(cfg.Folder, false); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	plain, err := w.open(cfg, keyPlain, cfg.Logs)
	if err != nil {
		return nil, err
	}
	w.serve("", plain)
	if cfg.Audit {
		if err := w.openAudit(cfg); err != nil {
			return nil, err
		}
	}
	w.mux.HandleFunc("GET /{$}", w.describe)
	return w, nil
}

// open makes the cosigner of a key with its states.
func (w *Witness) open(cfg Config, kind string, logs []tlog.PolicyLog) (*cosigner, error) {
	key, err := w.folder.readKey(kind)
	if err != nil {
		return nil, err
	}
	c := &cosigner{kind: kind, key: key, folder: w.folder, logs: map[string]*subject{}, now: cfg.Now, log: cfg.Log}
	for _, origin := range origins(logs) {
		s := &subject{origin: origin}
		var keys []note.Verifier
		for _, l := range logs {
			if l.Key.Name() == origin {
				s.known, keys = append(s.known, l), append(keys, l.Key)
				s.url = cmp.Or(s.url, strings.TrimRight(l.URL, "/"))
			}
		}
		s.keys = note.VerifierList(keys...)
		last, err := w.folder.readState(kind, origin, key)
		if err != nil {
			return nil, err
		}
		s.last.Store(last)
		c.logs[origin] = s
	}
	w.keys = append(w.keys, c)
	return c, nil
}

// openAudit adds the audit key.
func (w *Witness) openAudit(cfg Config) error {
	var logs []tlog.PolicyLog
	for _, l := range cfg.Logs {
		if l.URL != "" {
			logs = append(logs, l)
		}
	}
	if len(logs) == 0 {
		return problem.New(problem.Invalid, "witness-audit", "no log has a URL where its entries could be read").
			Suggest("write it behind the key in the file of logs: log <key> https://charts.example.com/log")
	}
	c, err := w.open(cfg, keyAudit, logs)
	if err != nil {
		return err
	}
	if w.audit, err = newAuditor(c, cfg.Entries); err != nil {
		return err
	}
	c.approve = w.audit.approve
	w.serve("/audit", c)
	return nil
}

// Keys are the verifier keys: that of the witness, and that of its audit
// statements where it makes them.
func (w *Witness) Keys() []string {
	var out []string
	for _, c := range w.keys {
		out = append(out, c.key.VerifierKey())
	}
	return out
}

// Close writes down how far the audit came, and frees the folder.
func (w *Witness) Close() error {
	if w.folder == nil {
		return nil
	}
	var err error
	if w.audit != nil {
		err = w.audit.save()
	}
	w.folder.close()
	return err
}

// ServeHTTP implements http.Handler.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.mux.ServeHTTP(rw, r) }

// serve adds the paths of a key below a prefix.
func (w *Witness) serve(prefix string, c *cosigner) {
	w.mux.HandleFunc("POST "+prefix+"/add-checkpoint", func(rw http.ResponseWriter, r *http.Request) {
		// A connection that cannot have a deadline is one of a test.
		_ = http.NewResponseController(rw).SetReadDeadline(time.Now().Add(readTimeout))
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, tlog.MaxWitnessRequest))
		if err != nil {
			status := http.StatusBadRequest
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				status = http.StatusRequestEntityTooLarge
			}
			w.answer(rw, r, c, refuse(status, "the request could not be read to its end within %d bytes", tlog.MaxWitnessRequest))
			return
		}
		lines, err := c.add(r.Context(), body)
		if err != nil {
			w.answer(rw, r, c, err)
			return
		}
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = rw.Write(lines) // a client that went away asks again
	})
	w.mux.HandleFunc("GET "+prefix+"/{hash}/checkpoint", func(rw http.ResponseWriter, r *http.Request) {
		for origin, s := range c.logs {
			if originHash(origin) != r.PathValue("hash") {
				continue
			}
			if text := s.note(); text != nil {
				rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
				rw.Header().Set("Cache-Control", "no-cache")
				_, _ = rw.Write(text)
				return
			}
		}
		w.answer(rw, r, c, refuse(http.StatusNotFound, "no checkpoint of that log was cosigned here"))
	})
}

// answer writes a refusal; what is none is our own fault, and logged.
func (w *Witness) answer(rw http.ResponseWriter, r *http.Request, c *cosigner, err error) {
	no, ok := errors.AsType[*refusal](err)
	if !ok {
		w.log.ErrorContext(r.Context(), "nothing was cosigned", "key", c.key.Name(), "error", err)
		no = refuse(http.StatusInternalServerError, "the witness failed; nothing was cosigned")
	}
	h := rw.Header()
	h.Set("Cache-Control", "no-store")
	if no.again > 0 {
		h.Set("Retry-After", strconv.Itoa(int((no.again+time.Second-1)/time.Second)))
	}
	if no.status == http.StatusConflict {
		h.Set("Content-Type", tlog.MediaWitnessSize)
		rw.WriteHeader(no.status)
		_, _ = rw.Write(tlog.MarshalWitnessSize(no.size))
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	rw.WriteHeader(no.status)
	_, _ = io.WriteString(rw, no.text+"\n")
}

// describe tells a person who stands here.
func (w *Witness) describe(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(rw, "A witness of transparency logs (c2sp.org/tlog-witness).")
	for _, c := range w.keys {
		prefix := "/"
		if c.kind == keyAudit {
			prefix = "/audit/"
		}
		fmt.Fprintf(rw, "\n%s\n  POST %sadd-checkpoint\n", c.key.VerifierKey(), prefix)
		for _, origin := range slices.Sorted(maps.Keys(c.logs)) {
			fmt.Fprintf(rw, "  GET  %s%s/checkpoint\n", prefix, originHash(origin))
		}
	}
}
