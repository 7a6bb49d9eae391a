#!/bin/sh
# Pins the images of compose.yaml and the Dockerfile by digest: NAME:TAG becomes
# NAME:TAG@sha256:…, as the registry has the tag now. Images that are pinned are pinned
# again, to what their tag is by now. Look at the difference, and commit it.
#
#   sh ops/pin-images.sh            # needs docker, with buildx, and the registries
#   sh ops/pin-images.sh --check    # names what is not pinned, and fails; needs neither
#
# Other files can be named behind that.
set -eu
check=false
if [ "${1-}" = --check ]; then check=true; shift; fi
[ $# -gt 0 ] || { cd "$(dirname "$0")/.."; set -- compose.yaml Dockerfile; }

# images prints the images that FILE names, without those that are built from it.
images() {
    sed -nE 's/^[[:space:]]*(image:|FROM)[[:space:]]+"?([^[:space:]"]+).*/\2/p' "$1" | grep -vxE 'scratch|courier-gateway:.*' | sort -u
}

for file; do
    for image in $(images "$file"); do
        tag=${image%@*}
        if $check; then
            case $image in *@sha256:*) ;; *) echo "$file: $image is not pinned: run ops/pin-images.sh" >&2; failed=1 ;; esac
            continue
        fi
        digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$tag")
        printf %s "$digest" | grep -qxE 'sha256:[0-9a-f]{64}' || { echo "$tag: the registry's answer is no digest: $digest" >&2; exit 1; }
        pattern=$(printf %s "$tag" | sed 's/[.]/[.]/g')
        sed -E "s|^([[:space:]]*(image:\|FROM)[[:space:]]+\"?)$pattern(@sha256:[0-9a-f]+)?([\"[:space:]]\|\$)|\1$tag@$digest\4|" "$file" >"$file.pinned"
        cat "$file.pinned" >"$file" # which keeps its mode
        rm "$file.pinned"
        echo "$file: $tag@$digest"
    done
done
exit "${failed-0}"
