import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Set;
import java.util.jar.JarFile;

/**
 * Prints those of its arguments, but the first, that stand in no class of the jars of the first, a directory.
 *
 * <p>A text of a program stands in its class as it was written, as long as it is ASCII.
 */
class Sentences {
    public static void main(String[] args) throws Exception {
        Set<String> missing = new HashSet<>();
        for (int i = 1; i < args.length; i++) {
            missing.add(args[i]);
        }
        for (File file : new File(args[0]).listFiles((folder, name) -> name.endsWith(".jar"))) {
            try (JarFile jar = new JarFile(file)) {
                for (var entry : (Iterable<java.util.jar.JarEntry>) jar.stream()::iterator) {
                    if (!entry.getName().endsWith(".class") || missing.isEmpty()) {
                        continue;
                    }
                    var bytes = jar.getInputStream(entry).readAllBytes();
                    var text = new String(bytes, StandardCharsets.ISO_8859_1);
                    missing.removeIf(text::contains);
                }
            }
        }
        missing.forEach(System.out::println);
    }
}
