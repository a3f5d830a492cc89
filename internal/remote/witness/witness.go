// Package witness asks witnesses to cosign checkpoints (C2SP tlog-witness,
// "add-checkpoint") and reads the entries of logs (C2SP tlog-tiles, "Log
// entries"), both over HTTP within the limits and the guard of package remote.
//
// What always holds: nothing of an answer is believed here. Of a cosignature
// the caller checks that it is one (tlog.ReadCosignature); of entries, that they
// have the root of a checkpoint. Redirects are not followed to add-checkpoint,
// where GET would take the place of POST.
package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const (
	maxReason = 1 << 10 // bytes of a refusal's text that are read
	// maxBundle bounds a bundle of entries: 256 of the largest.
	maxBundle = tlog.TileHashes * (tlog.MaxLeaf + 2)
)

// Client is safe for concurrent use.
type Client struct {
	client      *remote.Client
	credentials *remote.Credentials
}

// New makes a client. A URL that a credential is bound to is asked under it.
func New(client *remote.Client, credentials *remote.Credentials) *Client {
	return &Client{client, credentials}
}

// AddCheckpoint asks the witness at a submission prefix. An answer that is none
// of the protocol, such as that of a proxy, is an answer too, with its status.
// Errors are problems: the witness was not reached, or its answer is not
// readable. How long it may take is the context's.
func (c *Client) AddCheckpoint(ctx context.Context, prefix string, r tlog.WitnessRequest) (tlog.WitnessAnswer, error) {
	at := strings.TrimRight(prefix, "/") + "/add-checkpoint"
	credential := c.credentials.For(at)
	if err := c.client.Check(credential, at); err != nil {
		return tlog.WitnessAnswer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(r.Marshal()))
	if err != nil {
		return tlog.WitnessAnswer{}, problem.New(problem.Invalid, "remote-url", "the URL cannot be read")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("Accept-Encoding", "identity")
	res, err := c.client.Do(req, credential)
	if err != nil {
		return tlog.WitnessAnswer{}, err
	}
	defer res.Body.Close()
	if res.Request.Method != http.MethodPost {
		return tlog.WitnessAnswer{}, problem.New(problem.Unavailable, "remote-answer", "%s leads to another address, where it cannot be asked", remote.Shown(at)).
			Suggest("write the address that it leads to into the witness policy")
	}
	out := tlog.WitnessAnswer{Status: res.StatusCode, Again: remote.Pause(res.Header, time.Now())}
	limit := int64(maxReason)
	if res.StatusCode == http.StatusOK {
		limit = tlog.MaxCosignatures
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return tlog.WitnessAnswer{}, readFault(err, at)
	}
	switch {
	case res.StatusCode == http.StatusOK:
		out.Lines = body // one byte too many is refused with the rest
	case res.StatusCode == http.StatusConflict:
		// Without the media type it is the conflict of somebody else.
		if res.Header.Get("Content-Type") != tlog.MediaWitnessSize {
			return tlog.WitnessAnswer{}, problem.New(problem.Unavailable, "remote-answer", "%s answered 409 without the size that it knows", remote.Shown(at))
		}
		if out.Size, err = tlog.ParseWitnessSize(body); err != nil {
			return tlog.WitnessAnswer{}, err
		}
	default:
		out.Reason = firstLine(body)
	}
	return out, nil
}

func readFault(err error, at string) error {
	if _, ok := problem.As(err); ok {
		return err
	}
	return problem.New(problem.Unavailable, "remote-answer", "the answer of %s ended early", remote.Shown(at)).Because(err)
}

// firstLine is the first line of a foreign text as printable ASCII.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(string(body), "\n")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line)
	return strings.TrimSpace(line[:min(len(line), 300)])
}

// Newest reads the newest checkpoint of a log that a witness cosigned (tlog-witness,
// "Monitor Retrieval Mechanism"), where its monitoring prefix is its submission
// prefix. NotFound when it never did.
func (c *Client) Newest(ctx context.Context, prefix, origin string) ([]byte, error) {
	h := sha256.Sum256([]byte(origin))
	at := strings.TrimRight(prefix, "/") + "/" + hex.EncodeToString(h[:]) + "/checkpoint"
	doc, err := c.client.Get(ctx, remote.Get{URL: at, Credential: c.credentials.For(at), Limit: tlog.MaxCheckpoint})
	if err != nil {
		return nil, err
	}
	return doc.Body, nil
}

// Entries reads the first width entries of bundle n of the log whose tiles are
// below a URL.
func (c *Client) Entries(ctx context.Context, url string, n int64, width int) ([][]byte, error) {
	at := strings.TrimRight(url, "/") + "/" + tlog.EntriesPath(n, width)
	doc, err := c.client.Get(ctx, remote.Get{URL: at, Credential: c.credentials.For(at), Limit: maxBundle})
	if problem.KindOf(err) == problem.NotFound && width < tlog.TileHashes {
		// A log may drop the parts of a bundle that is full now (tlog-tiles,
		// "Partial Tiles").
		full := strings.TrimRight(url, "/") + "/" + tlog.EntriesPath(n, tlog.TileHashes)
		if whole, again := c.client.Get(ctx, remote.Get{URL: full, Credential: c.credentials.For(full), Limit: maxBundle}); again == nil {
			doc, err = whole, nil
		}
	}
	if err != nil {
		return nil, err
	}
	entries, err := tlog.ParseEntryBundle(doc.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", remote.Shown(at), err)
	}
	if len(entries) < width {
		return nil, problem.New(problem.Unavailable, "remote-answer", "%s has %d entries instead of %d", remote.Shown(at), len(entries), width)
	}
	return entries[:width], nil
}
