package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

//go:embed static
var staticFiles embed.FS

// asset is a file that pages refer to by a name with its hash, so that it can
// be kept for ever.
type asset struct {
	name      string // with the hash
	mediaType string
	raw, gzip []byte
}

// assets are found by the name with the hash; plain names lead to those.
type assets struct {
	files map[string]*asset
	names map[string]string
}

func loadAssets() (assets, error) {
	a := assets{files: map[string]*asset{}, names: map[string]string{}}
	for plain, mediaType := range map[string]string{
		"style.css": "text/css; charset=utf-8",
		"mark.svg":  "image/svg+xml",
	} {
		raw, err := staticFiles.ReadFile("static/" + plain)
		if err != nil {
			return assets{}, err
		}
		sum := sha256.Sum256(raw)
		ext := path.Ext(plain)
		name := strings.TrimSuffix(plain, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if _, err := z.Write(raw); err != nil {
			return assets{}, fmt.Errorf("compress %s: %w", plain, err)
		}
		if err := z.Close(); err != nil {
			return assets{}, fmt.Errorf("compress %s: %w", plain, err)
		}
		a.files[name] = &asset{name: name, mediaType: mediaType, raw: raw, gzip: b.Bytes()}
		a.names[plain] = name
	}
	return a, nil
}

func (d *Door) serveAsset(w http.ResponseWriter, r *http.Request, name string) error {
	a, ok := d.assets.files[name]
	if !ok {
		return problem.New(problem.NotFound, "asset", "there is no file %s", shorten(name, 80))
	}
	h := w.Header()
	h.Set("Content-Type", a.mediaType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.raw
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body)
	return err
}
