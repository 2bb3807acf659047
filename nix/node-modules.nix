# A function that yields what a package-lock.json names, as a folder `node_modules`. The lock file has a checksum for each
# package but no addresses, so npm downloads, and the hash of the result changes with the lock file.
{
  cacert,
  lib,
  nodejs_24,
  stdenvNoCC,
}:
{
  name,
  folder,
  outputHash,
}:
stdenvNoCC.mkDerivation {
  # With the lock file in its name, or Nix would take the result of another lock file until somebody changes the hash.
  name = "${name}-node-modules-${
    builtins.substring 0 8 (builtins.hashFile "sha256" (folder + "/package-lock.json"))
  }";
  src = lib.fileset.toSource {
    root = folder;
    fileset = lib.fileset.unions [
      (folder + "/package.json")
      (folder + "/package-lock.json")
    ];
  };
  nativeBuildInputs = [
    cacert
    nodejs_24
  ];
  # Optional packages for one platform, so that the hash is the same on all.
  buildPhase = ''
    HOME=$TMPDIR npm ci --ignore-scripts --no-audit --no-fund --os=linux --cpu=x64 --libc=glibc
    rm node_modules/.package-lock.json
  '';
  installPhase = "install -d $out; mv node_modules $out";
  dontFixup = true;
  outputHashMode = "recursive";
  inherit outputHash;
}
