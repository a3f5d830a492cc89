// Package blob keeps content-addressed bytes: archives, layers and whatever
// else is too large for a row of the database.
//
// # What it models
//
// A blob is a finite run of bytes named by its digest, as package digest has
// it. An upload is bytes on their way to become a blob; it has a
// random id, at most one writer at a time, and ends by Commit or Cancel.
//
// # What always holds
//
//   - A blob appears whole, under the digest of its bytes, or not at all. It is
//     made with link(2), which refuses an existing name; nothing overwrites,
//     appends to or renames a blob.
//   - When Commit has returned without an error, the blob survives the loss of
//     power: its bytes, its name and the names of all folders above it have
//     been synced. A sync that failed is never repeated and believed.
//   - Bytes that were staged, but not committed, are not reachable through a
//     digest, whichever process dies at whichever moment.
//   - Errors of the disk are problem.Unavailable and leave no bytes behind that
//     can still be removed.
//
// Reading does not verify: a disk may rot. digest.Verified does, and withholds
// the end of the bytes until they have proven true.
//
// # The port
//
// The consumer declares the port; Dir satisfies it by shape, and a store on S3
// can. Upload and Blob are aliases of interface literals in every package that
// names them (here, in the port and in storetest), because only then are the
// method signatures identical:
//
//	type Blobs interface {
//		Begin(ctx context.Context) (Upload, error)
//		Resume(ctx context.Context, id string) (Upload, error)
//		UploadSize(ctx context.Context, id string) (int64, error)
//		SweepUploads(ctx context.Context, olderThan time.Time) (int, error)
//
//		Open(ctx context.Context, digest string) (Blob, error)
//		Stat(ctx context.Context, digest string) (int64, error)
//		Delete(ctx context.Context, digest string) error
//		List(ctx context.Context, fn func(digest string, size int64, modified time.Time) error) error
//	}
//
// # The directory
//
//	uploads/<id>              staged bytes, locked by their writer with flock(2)
//	blobs/sha256/ab/<hex>     a blob, "ab" being the first two digits of <hex>
//	blobs/sha512/ab/<hex>
//	records/<name>            a record: small, named, and made only once
//
// A record is to a name what a blob is to a digest: it appears whole or not at
// all and never changes, but its name is chosen. Package custody keeps
// checkpoints of the logs so.
//
// Any number of processes may share one directory. How many uploads may be
// open and how many bytes they may hold is the caller's to bound.
package blob
