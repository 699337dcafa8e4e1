// signing REQUEST.json signs images in a registry as cosign does, with cosign's own packages: by a key, or keyless with
// sigstore's virtual services instead of the public ones. What a policy needs to verify it goes into a directory.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	cbundle "github.com/sigstore/cosign/v3/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v3/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v3/pkg/oci/remote"
	"github.com/sigstore/cosign/v3/pkg/oci/static"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	oldBundleType = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	predicateType = "https://sigstore.dev/cosign/sign/v1"
	payloadType   = "application/vnd.in-toto+json"
)

type request struct {
	// Where keys and certificates are written.
	Out string `json:"out"`
	// Of the certificates.
	Email  string  `json:"email"`
	Issuer string  `json:"issuer"`
	Images []image `json:"images"`
}

type image struct {
	// host/repository@digest, over http.
	Image string `json:"image"`
	// The repository that is signed, where that is another one.
	Name string `json:"name"`
	// simple, bundle (version 0.3; keyless with Rekor 2 and a time-stamper), or old-bundle (0.1, keyless with Rekor 1).
	Format string `json:"format"`
	// key, keyless, or late: keyless, but the log saw it after the certificate had expired.
	Signer string `json:"signer"`
}

type world struct {
	request  request
	key      *ecdsa.PrivateKey
	sigstore *ca.VirtualSigstore
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "signing:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	var w world
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &w.request); err != nil {
		return err
	}
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	if w.sigstore, err = ca.NewVirtualSigstore(); err != nil {
		return err
	}
	if err := w.writeTrust(); err != nil {
		return err
	}
	for _, image := range w.request.Images {
		if err := w.sign(image); err != nil {
			return fmt.Errorf("%s: %w", image.Image, err)
		}
	}
	return nil
}

func (w *world) writeTrust() error {
	logs := w.sigstore.RekorLogs()
	for id, log := range logs {
		// The virtual log's identifier is text; that of a real one is not.
		log.ID, _ = hex.DecodeString(id)
	}
	authorities := w.sigstore.FulcioCertificateAuthorities()
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, nil, w.sigstore.TimestampingAuthorities(), logs)
	if err != nil {
		return err
	}
	document, err := trusted.MarshalJSON()
	if err != nil {
		return err
	}
	files := map[string][]byte{"trusted_root.json": document}
	if files["cosign.pub"], err = publicPEM(w.key.Public()); err != nil {
		return err
	}
	for _, log := range logs {
		if files["rekor.pub"], err = publicPEM(log.PublicKey); err != nil {
			return err
		}
	}
	files["fulcio.pem"] = certificatePEM(w.fulcio().Root)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(w.request.Out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) sign(image image) error {
	digest, err := name.NewDigest(image.Image, name.Insecure)
	if err != nil {
		return err
	}
	if image.Format != "simple" {
		return w.signBundle(digest, image)
	}
	return w.signSimple(digest, image)
}

func (w *world) signSimple(digest name.Digest, image image) error {
	body, err := payload.Cosign{Image: digest, ClaimedIdentity: image.Name}.MarshalJSON()
	if err != nil {
		return err
	}
	signed, options, err := w.signPayload(body, image)
	if err != nil {
		return err
	}
	entity, err := ociremote.SignedEntity(digest)
	if err != nil {
		return err
	}
	attached, err := static.NewSignature(body, base64.StdEncoding.EncodeToString(signed), options...)
	if err != nil {
		return err
	}
	if entity, err = mutate.AttachSignatureToEntity(entity, attached); err != nil {
		return err
	}
	return ociremote.WriteSignatures(digest.Repository, entity)
}

func (w *world) signPayload(body []byte, image image) ([]byte, []static.Option, error) {
	if image.Signer == "key" {
		signer, err := signature.LoadECDSASigner(w.key, crypto.SHA256)
		if err != nil {
			return nil, nil, err
		}
		signed, err := signer.SignMessage(bytes.NewReader(body))
		return signed, nil, err
	}
	entity, err := w.sigstore.SignAtTime(w.request.Email, w.request.Issuer, body, logTime(image))
	if err != nil {
		return nil, nil, err
	}
	signed, err := signatureOf(entity)
	if err != nil {
		return nil, nil, err
	}
	leaf, entry, err := w.promisedMaterialOf(entity)
	if err != nil {
		return nil, nil, err
	}
	chain := append(certificatePEM(w.fulcio().Intermediates[0]), certificatePEM(w.fulcio().Root)...)
	bundle := &cbundle.RekorBundle{
		SignedEntryTimestamp: entry.InclusionPromise.SignedEntryTimestamp,
		Payload: cbundle.RekorPayload{
			Body:           base64.StdEncoding.EncodeToString(entry.CanonicalizedBody),
			IntegratedTime: entry.IntegratedTime,
			LogIndex:       entry.LogIndex,
			LogID:          hex.EncodeToString(entry.LogId.KeyId),
		},
	}
	options := []static.Option{static.WithCertChain(certificatePEM(leaf), chain), static.WithBundle(bundle)}
	return signed, options, nil
}

func (w *world) signBundle(digest name.Digest, image image) error {
	statement := fmt.Sprintf(
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`,
		digest.DigestStr()[len("sha256:"):], predicateType)
	document, err := w.makeBundle([]byte(statement), image)
	if err != nil {
		return err
	}
	encoded, err := protojson.Marshal(document)
	if err != nil {
		return err
	}
	return ociremote.WriteAttestationNewBundleFormat(digest, encoded, predicateType)
}

func (w *world) makeBundle(statement []byte, image image) (*protobundle.Bundle, error) {
	material := &protobundle.VerificationMaterial{}
	mediaType := bundleType
	var signed []byte
	switch {
	case image.Signer == "key":
		signer, err := signature.LoadECDSASigner(w.key, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		envelope, err := dsse.WrapSigner(signer, payloadType).SignMessage(bytes.NewReader(statement))
		if err != nil {
			return nil, err
		}
		if signed, err = signatureIn(envelope); err != nil {
			return nil, err
		}
		material.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}}
	case image.Format == "bundle":
		entity, err := w.sigstore.AttestHashedRekordV2(w.request.Email, w.request.Issuer, statement)
		if err != nil {
			return nil, err
		}
		leaf, entry, err := materialOf(entity)
		if err != nil {
			return nil, err
		}
		entry.IntegratedTime = 0
		if signed, err = signatureOf(entity); err != nil {
			return nil, err
		}
		stamps, err := entity.Timestamps()
		if err != nil {
			return nil, err
		}
		material.Content = &protobundle.VerificationMaterial_Certificate{Certificate: certificate(leaf)}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamps[0]}},
		}
	default:
		mediaType = oldBundleType
		entity, err := w.sigstore.AttestAtTime(w.request.Email, w.request.Issuer, statement, logTime(image), false)
		if err != nil {
			return nil, err
		}
		leaf, entry, err := w.promisedMaterialOf(entity)
		if err != nil {
			return nil, err
		}
		if signed, err = signatureOf(entity); err != nil {
			return nil, err
		}
		chain := []*protocommon.X509Certificate{certificate(leaf), certificate(w.fulcio().Intermediates[0])}
		material.Content = &protobundle.VerificationMaterial_X509CertificateChain{
			X509CertificateChain: &protocommon.X509CertificateChain{Certificates: chain},
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	envelope := &protodsse.Envelope{
		Payload:     statement,
		PayloadType: payloadType,
		Signatures:  []*protodsse.Signature{{Sig: signed}},
	}
	return &protobundle.Bundle{
		MediaType:            mediaType,
		VerificationMaterial: material,
		Content:              &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope},
	}, nil
}

func materialOf(entity *ca.TestEntity) (*x509.Certificate, *protorekor.TransparencyLogEntry, error) {
	content, err := entity.VerificationContent()
	if err != nil {
		return nil, nil, err
	}
	entries, err := entity.TlogEntries()
	if err != nil {
		return nil, nil, err
	}
	return content.Certificate(), entries[0].TransparencyLogEntry(), nil
}

// The entry that is found in an entity of Rekor 1 lacks what the log has promised, and what it is.
func (w *world) promisedMaterialOf(entity *ca.TestEntity) (*x509.Certificate, *protorekor.TransparencyLogEntry, error) {
	leaf, entry, err := materialOf(entity)
	if err != nil {
		return nil, nil, err
	}
	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(entry.CanonicalizedBody, &kind); err != nil {
		return nil, nil, err
	}
	entry.KindVersion = &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion}
	promise, err := w.sigstore.RekorSignPayload(tlog.RekorPayload{
		Body:           base64.StdEncoding.EncodeToString(entry.CanonicalizedBody),
		IntegratedTime: entry.IntegratedTime,
		LogIndex:       entry.LogIndex,
		LogID:          hex.EncodeToString(entry.LogId.KeyId),
	})
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	return leaf, entry, err
}

func signatureOf(entity *ca.TestEntity) ([]byte, error) {
	content, err := entity.SignatureContent()
	if err != nil {
		return nil, err
	}
	return content.Signature(), nil
}

func (w *world) fulcio() *root.FulcioCertificateAuthority {
	return w.sigstore.FulcioCertificateAuthorities()[0].(*root.FulcioCertificateAuthority)
}

func certificate(of *x509.Certificate) *protocommon.X509Certificate {
	return &protocommon.X509Certificate{RawBytes: of.Raw}
}

// The certificates of the virtual authority are good for ten minutes.
func logTime(image image) time.Time {
	if image.Signer == "late" {
		return time.Now().Add(30 * time.Minute)
	}
	return time.Now().Add(5 * time.Minute)
}

func signatureIn(envelope []byte) ([]byte, error) {
	var document struct {
		Signatures []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(envelope, &document); err != nil {
		return nil, err
	}
	return document.Signatures[0].Sig, nil
}

func publicPEM(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

func certificatePEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
