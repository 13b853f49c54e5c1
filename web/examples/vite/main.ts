// The same with a bundler and types. The image is in `public/`.
import { Aurora, AuroraError, type ExitStatus } from "aurora-os";

const output = document.querySelector("pre")!;
try {
  const os = await Aurora.boot({ image: `${import.meta.env.BASE_URL}image.cpio.gz`, memory: 64 });
  const program = os.spawn("sh", ["-c", "uname -m; exit 3"]);
  const text: string = await new Response(program.stdout).text();
  const { code }: ExitStatus = await program.exit;
  output.textContent = `${text}(${code})`;
} catch (error) {
  output.textContent = error instanceof AuroraError ? `${error.code}: ${error.message}` : String(error);
}
