package digest_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func sha256Of(b []byte) string { return digest.SHA256(b) }

func sha512Of(b []byte) string {
	sum := sha512.Sum512(b)
	return fmt.Sprintf("sha512:%x", sum)
}

// sized is a reader that says a size, true or not.
type sized struct {
	io.Reader
	size int64
}

func (s sized) Size() int64 { return s.size }

var verifiedSizes = []int{0, 1, 100, 65535, 65536, 65537, 131072, 131073, 300_000}

// ways are the ways to read everything.
var ways = map[string]func(r *digest.VerifiedReader) ([]byte, error){
	"copy": func(r *digest.VerifiedReader) ([]byte, error) {
		var b bytes.Buffer
		n, err := io.Copy(struct{ io.Writer }{&b}, r)
		if n != int64(b.Len()) {
			err = fmt.Errorf("said %d, wrote %d", n, b.Len())
		}
		return b.Bytes(), err
	},
	"read all":  func(r *digest.VerifiedReader) ([]byte, error) { return io.ReadAll(r) },
	"odd reads": func(r *digest.VerifiedReader) ([]byte, error) { return io.ReadAll(iotest.HalfReader(r)) },
	"read, then copy": func(r *digest.VerifiedReader) ([]byte, error) {
		head := make([]byte, 10)
		n, err := io.ReadFull(r, head)
		if err != nil {
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				err = nil
			}
			return head[:n], err
		}
		b := bytes.NewBuffer(head)
		_, err = r.WriteTo(b)
		return b.Bytes(), err
	},
}

func TestVerified(t *testing.T) {
	for _, size := range verifiedSizes {
		content := bytes.Repeat([]byte("chart"), size/5+1)[:size]
		for _, named := range []string{sha256Of(content), sha512Of(content)} {
			for name, read := range ways {
				got, err := read(digest.Verified(bytes.NewReader(content), named))
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s of %d bytes, %.6s: %d bytes, %v", name, size, named, len(got), err)
				}
				got, err = read(digest.Verified(sized{iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(content))), int64(size)}, named))
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s of %d bytes in halves, %.6s: %d bytes, %v", name, size, named, len(got), err)
				}
			}
		}
	}
	content := bytes.Repeat([]byte("chart"), 20)
	if err := iotest.TestReader(digest.Verified(bytes.NewReader(content), sha256Of(content)), content); err != nil {
		t.Error(err)
	}
}

// TestVerifiedWithholds flips a bit, loses bytes and fails, at every kind of
// place: the last byte is never given.
func TestVerifiedWithholds(t *testing.T) {
	for _, size := range verifiedSizes {
		content := bytes.Repeat([]byte("chart"), size/5+1)[:size]
		for _, named := range []string{sha256Of(content), sha512Of(content)} {
			for name, read := range ways {
				for _, at := range []int{0, size / 2, size - 1} {
					if at < 0 || at >= size {
						continue
					}
					bad := bytes.Clone(content)
					bad[at] ^= 0x10
					for what, from := range map[string]sized{
						"flipped": {bytes.NewReader(bad), int64(size)},
						"cut":     {bytes.NewReader(content[:at]), int64(size)},
						"short":   {bytes.NewReader(content[:at]), int64(at)},
					} {
						got, err := read(digest.Verified(from, named))
						if problem.KindOf(err) != problem.Disproven || len(got) >= size {
							t.Errorf("%s at %d of %d, %s, %.6s: %d bytes, %v", what, at, size, name, named, len(got), err)
						}
						if name == "copy" && size <= 65536 && len(got) > 0 {
							t.Errorf("%s at %d of %d: %d bytes were written", what, at, size, len(got))
						}
					}
					broken := errors.New("broken")
					from := io.MultiReader(bytes.NewReader(content[:at]), iotest.ErrReader(broken))
					if got, err := read(digest.Verified(sized{from, int64(size)}, named)); err != broken || len(got) >= size {
						t.Errorf("failing at %d of %d, %s: %d bytes, %v", at, size, name, len(got), err)
					}
				}
			}
		}
	}
	r := digest.Verified(strings.NewReader("x"), sha256Of(nil))
	for range 3 { // the verdict stays
		if n, err := r.Read(make([]byte, 10)); n != 0 || problem.KindOf(err) != problem.Disproven {
			t.Errorf("read %d, %v", n, err)
		}
	}
	if _, err := io.ReadAll(digest.Verified(strings.NewReader(""), sha256Of([]byte("x")))); problem.KindOf(err) != problem.Disproven {
		t.Errorf("empty in place of something: %v", err)
	}
	if _, err := io.ReadAll(digest.Verified(strings.NewReader("x"), "md5:x")); problem.KindOf(err) != problem.Invalid {
		t.Errorf("no digest: %v", err)
	}
	content := []byte("chart")
	if _, err := digest.Verified(bytes.NewReader(content), sha256Of(content)).WriteTo(shortWriter{}); err != io.ErrShortWrite {
		t.Errorf("a writer that takes too little: %v", err)
	}
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestCheckDigest(t *testing.T) {
	for _, good := range []string{sha256Of(nil), sha512Of([]byte("x"))} {
		if err := digest.Check(good); err != nil {
			t.Error(err)
		}
	}
	for named, rule := range map[string]string{
		"":                            "digest-form",
		"sha256":                      "digest-form",
		"sha256:":                     "digest-form",
		"sha256:" + sha512Of(nil)[7:]: "digest-form",
		strings.ToUpper(sha256Of(nil)[:7]) + sha256Of(nil)[7:]: "digest-algorithm",
		"md5:d41d8cd98f00b204e9800998ecf8427e":                 "digest-algorithm",
	} {
		p, ok := problem.As(digest.Check(named))
		if !ok || p.Kind != problem.Invalid || p.Rule != rule || len(p.Message) > 400 {
			t.Errorf("%q: %v", named, p)
		}
	}
	for alg, size := range map[string]int{"sha256": sha256.Size, "sha512": sha512.Size} {
		if h, err := digest.NewHash(alg); err != nil || h.Size() != size {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if _, err := digest.NewHash("sha1"); problem.KindOf(err) != problem.Invalid {
		t.Error(err)
	}
}

// FuzzDigest: what passes is exactly what a hash writes, and nothing else gets
// near a file name.
func FuzzDigest(f *testing.F) {
	for _, seed := range []string{sha256Of(nil), sha512Of(nil), "", ":", "sha256:", "sha256:../../x", "SHA256:" + sha256Of(nil)[7:], sha256Of(nil) + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, named string) {
		err := digest.Check(named)
		if err == nil {
			alg, digits, _ := strings.Cut(named, ":")
			h, hashErr := digest.NewHash(alg)
			if hashErr != nil || len(digits) != 2*h.Size() || strings.ToLower(digits) != digits || strings.ContainsAny(digits, "/.\\\x00 \n") {
				t.Errorf("%q passes", named)
			}
			return
		}
		if p, ok := problem.As(err); !ok || p.Kind != problem.Invalid || len(p.Message) > 1000 {
			t.Errorf("%q: %v", named, err)
		}
	})
}
