package blob

import "github.com/chartkeep/chartkeep/internal/digest"

// The folders of a store.
const (
	uploadsDir = "uploads"
	blobsDir   = "blobs"
)

// algorithms are those whose digests name blobs; each has a folder.
var algorithms = [...]string{"sha256", "sha512"}

// location is where a blob lies.
type location struct {
	family string // folder of the algorithm: blobs/sha256
	shard  string // folder of the blob: blobs/sha256/ab
	name   string // the blob: blobs/sha256/ab/abcd…
}

func locate(name string) (location, error) {
	alg, digits, err := digest.Split(name)
	if err != nil {
		return location{}, err
	}
	family := blobsDir + "/" + alg
	shard := family + "/" + digits[:2]
	return location{family, shard, shard + "/" + digits}, nil
}
